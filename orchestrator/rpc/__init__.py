"""gRPC over the service: grpcio is imported here alone, in API processes after their fork."""
