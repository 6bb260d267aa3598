"""What the http step is made of: what answers mean, signatures, credentials, certificates, connections."""
