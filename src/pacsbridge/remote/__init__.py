"""Other people's archives: asked over DICOMweb, and trusted with nothing.

    settings    where an archive is, how it is asked, what it may cost
    addresses   where a connection may lead to
    watch       one deadline for a whole answer
    transport   one request, one bounded answer; requests and urllib3 stay in here
    outcomes    statuses and network faults → our errors, as tables
    auth        what goes into the Authorization header
    circuit     when an archive that fails is asked again
    client      all of that together: `Client.get`
    qido        QIDO-RS: `Archive.studies`, `.series`, `.instances` (PS3.18 10.6)
    orthanc     Orthanc's own log of changes

What goes wrong comes out as one of three: Unavailable (ask again later), BadAnswer (an answer that nobody can
use), Declined (the archive refuses the question). Their texts are ours: never what the other server sent, nor
what it was asked for.
"""
