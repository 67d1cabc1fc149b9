"""The index: facts per instance, one state per study, published versions and what makes them searchable.

One contract (`store.Store`) on two engines, SQLite and PostgreSQL. Facts are derived from the packs and can
be rebuilt from them; published versions and their numbers are kept here alone. Times are microseconds since
1970 (UTC), so that both engines sort and compare them alike.

    schema      the tables               index       facts of a batch of instances → rows
    engine      connections, one writer  documents   published versions, their search rows
    migrations  numbered, forward only   search      Query → SQL → page
    records     what goes in and comes out
"""
