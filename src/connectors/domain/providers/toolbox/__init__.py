"""What all provider packages need: foreign JSON, HTTP headers, signatures, tokens, options, tables of event rules."""
