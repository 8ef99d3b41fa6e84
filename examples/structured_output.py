"""An answer as data: the same schema for every provider, each of which gets it in the form that it takes.

OPENAI_API_KEY=sk-... python examples/structured_output.py "Ana is thirty and speaks French and Greek."
"""

import sys

from cloud.llm import OpenAICompatClient

PERSON = {
    "title": "person",
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "The given name."},
        "age": {"type": ["integer", "null"], "minimum": 0},
        "languages": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name", "age", "languages"],
    "additionalProperties": False,
}


def main(text: str, client: OpenAICompatClient) -> None:
    response = client.chat([{"role": "user", "content": text}], response_format=PERSON, max_tokens=500)
    if response.finish_reason != "stop":  # cut or refused: then it need not be JSON
        raise SystemExit(f"no whole answer: {response.finish_reason}")
    person = response.json()
    print(f"{person['name']}, {person['age']}, {len(person['languages'])} languages")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "Ana is thirty and speaks French and Greek.", OpenAICompatClient())
