"""Pictures of graphs: as text with a lane for each way, and as SVG in layers."""
