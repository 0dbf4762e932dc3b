"""``omniagents demo``: the README's two users, played with real code.

``program`` directs, ``acts`` are what each process plays, ``sources`` is the code.
"""
