"""What all provider packages need: foreign JSON, HTTP headers, signatures, tables of event rules."""
