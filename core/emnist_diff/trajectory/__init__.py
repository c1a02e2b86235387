"""The trajectory file: its schema, writer, reader and verifier. The normative page is docs/trajectory-format.md."""
