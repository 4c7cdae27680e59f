"""For tests of what you build on OptiMem: a provider on loopback that really reads.

    from optimem.testing import ReadingServer

    with ReadingServer() as server:
        client = OpenAI(base_url=server.openai_url, api_key="any")
        request = memory.context("openai:gpt-6-astra", 20_000).request()
        reply = client.chat.completions.create(model="gpt-6-astra", **request)
        server.exchanges[-1].usage      # what was billed, cached tokens among it

It speaks OpenAI's Chat Completions and Responses, Anthropic's Messages and Gemini's
generateContent, streamed or whole, to the providers' own clients. It takes the page images
out of each request, reads them with Tesseract (`apt install tesseract-ocr`) or, told
`engine=rapidocr`, with RapidOCR, which knows Chinese, and replies from what it read and from
the text that it was given: see `optimem.testing.answers` for what it understands. It bills by
the model's price rule, with a prompt cache that each API's usage reports in its own words,
and rejects what the provider would: too many images, too large ones, a full window, calls
without results. Told to, it refuses, fails, charges too much, or sees badly.

An image is read when a question needs it, and once: about 4 seconds of the processor for a
page.
"""

from optimem.testing.exchange import Asked, Block, Call, Exchange, Reading, Reply, Usage
from optimem.testing.eyes import Engine, tesseract
from optimem.testing.rapid import rapidocr
from optimem.testing.server import ReadingServer

__all__ = [
    "Asked",
    "Block",
    "Call",
    "Engine",
    "Exchange",
    "Reading",
    "ReadingServer",
    "Reply",
    "Usage",
    "rapidocr",
    "tesseract",
]
