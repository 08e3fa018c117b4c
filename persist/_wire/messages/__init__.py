"""Message formats: protobuf and its text form, FlatBuffers, YAML as plain data."""
