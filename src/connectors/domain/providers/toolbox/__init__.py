"""What all provider packages share: foreign JSON, HTTP headers, signatures, tokens, options, tables of event rules."""
