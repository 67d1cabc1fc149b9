"""TLS as a site runs it: certificates in files, contexts that are renewed, handshakes that fail.

certificates  what is in a file, and what is wrong with it     contexts  TLS by BCP 195, renewed in place
revocation    lists of certificates that hold no longer        standing  until when both are good
renewal       the thread that looks after all of them          pins      which certificate a peer may show
failures      failed handshakes, counted and told in bounds    greeting  the handshake of the HTTP port
"""
