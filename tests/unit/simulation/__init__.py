"""The parts of the simulation, each by itself."""
