"""Reboots unhealthy SageMaker HyperPod nodes and reports every node that could not be rebooted."""
