"""OHIF, a viewer that others build, on a port of its own in front of the bridge's DICOMweb.

package     the published build: fetched once, verified, unpacked
pages       its files, our configuration for it, and what browsers may do with both
forwarding  DICOMweb on the same origin
serving     the server
"""
