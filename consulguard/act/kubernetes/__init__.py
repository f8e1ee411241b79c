"""What can be done in a Kubernetes cluster about an instance Consul knows: one file per action.

``api`` talks to the API server, ``objects`` says what it answers, ``mapping`` finds the pod or workload that
belongs to a Consul target and refuses what does not.
"""
