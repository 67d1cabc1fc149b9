"""Where instances live: append-only packs, and files of their own for large ones.

    data_dir/packs/00000001.pack    records one behind the other: facts of the caller (JSON) + Part 10 bytes
    data_dir/objects/ab/abcd…-…     one large instance each; a record in a pack refers to it
    data_dir/incoming/              spools: large instances while they are received

Why packs. Making a small instance durable in a file of its own takes a sync of the file and one of its
folder, and the index adds a third. Here all instances that arrive at the same moment share one `fdatasync`:
of the threads that wait, the first one writes and syncs for everybody (`group`), so that a lone sender pays
no thread hand-off and many senders pay one sync for many. The pack is also the log: the index is derived from
it, remembers up to where it has read each pack, and after a crash reads on from there (`replay`). The index's
own commit may therefore come later, and may even be lost.

What survives what.
    a killed process     everything that `append` or `adopt` returned from. What was half written is a torn
                         tail, cut off by the next `replay`; spools of dead processes are removed
    a power cut          the same: records are synced before `append` returns, a new pack's folder entry
                         before the first of them; an object and its folders before the record naming it
    a full disk          the group of records in flight is refused (Unavailable) and its bytes are cut off;
                         the next append tries again
    a failed sync        the kernel may drop the pages and report success afterwards, so the pack is never
                         written or synced again: the group is refused and the next append begins a new pack
    a flipped bit        found by checksums. A damaged record is reported and skipped, those behind it are
                         still read: the record's prefix carries the lengths and has a checksum of its own;
                         where the prefix is hit, the next one is found by the pack's mark. The mark is
                         random, so no payload can contain a forged record
    several processes    each writes packs of its own, locked for as long as it lives

What a pack does not do: it is never rewritten. `Packs.discard` marks one record and gives its room back to
the file system (a hole), which is all that compaction would do here.

`Packs` in `packs` is the way in; nothing else needs to be imported but the types that it returns.
"""
