"""Consul's answers become observations, facts and a view that is trusted or not."""
