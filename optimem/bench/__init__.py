"""The benchmarks behind every number in the README: `optimem bench NAME`.

Each is a module with a `main()` that prints its ceiling, what it measured as a share of
it, and last one JSON object (see `optimem.bench.report`).
"""

BENCHES = {
    "anchors": "how many exact strings are at hand when they are said again (needs a checkout)",
    "codec": "how much of a page optimem-nano reads from its vision tokens, by mode",
    "context": "how long a context and its request take after an append, by reader",
    "encode": "how fast pages become vision tokens, beside the machine's matrix products",
    "fading": "what each policy does with the packaged session, drawn; the solver's time and gap",
    "legibility": "how well OCR engines read pages back, by mode and kind of text",
    "middleware": "what OptiMemMiddleware adds to a model call, over Redis on loopback",
    "policy": "what long sessions cost beside other systems, and what can still be read of them",
    "recall": "how often recall finds the turn that answers a question (needs a checkout)",
    "render": "how fast text becomes pixels and PNGs, beside Pillow, reportlab and omniglyph",
    "startup": "how long `import optimem` takes, beside the bare interpreter",
    "store": "appends, contexts and recall of each store beside its raw client",
}
"""What each benchmark measures, by name."""
