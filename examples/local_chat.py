"""A chat with a model that runs here and takes old turns as vision tokens.

    python examples/local_chat.py Qwen/Qwen3-VL-2B-Instruct

Needs `pip install 'optimem[vision]'`. Between epochs each answer goes on from the decoder's
cache: only the new turns are read.
"""

import sys

from optimem import Memory
from optimem.vision import LocalReader, ModelInputs, Past


def main(name: str) -> None:
    """Talk until the input ends."""
    reader = LocalReader.load(name)
    past: Past | None = None
    with Memory.open("sqlite:///chat.db", session="local") as memory:
        while True:
            try:
                memory.append({"role": "user", "content": input("> ")})
            except EOFError:
                return
            inputs = memory.context(reader=reader, budget=6_000).model_inputs(past)
            assert isinstance(inputs, ModelInputs)
            out = reader.model.generate(**inputs, max_new_tokens=400, return_dict_in_generate=True)
            past = inputs.past(out.past_key_values)
            new = out.sequences[0, inputs["input_ids"].shape[1] :]
            answer = reader.tokenizer.decode(new, skip_special_tokens=True).strip()
            memory.append({"role": "assistant", "content": answer})
            print(answer)


if __name__ == "__main__":
    main(sys.argv[1])
