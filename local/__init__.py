"""A local AWS with a simulated SageMaker HyperPod, for the demonstration and the end-to-end tests."""
