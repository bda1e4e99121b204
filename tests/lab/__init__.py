"""The lab: a kernel with IPVS, foreign implementations, and whole clusters in namespaces.

`tree` builds a Debian tree in the cache folder, `vm` boots it, `run` runs one command where
IPVS is, `topology` builds the network of a cluster, `webserver` and `client` are its ends.
"""
