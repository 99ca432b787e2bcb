"""The REST API under `/kubernaut`: what people and programs ask of Kubernaut (docs/rest-api.md)."""
