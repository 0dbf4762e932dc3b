"""What a kind of work needs: ``base`` has ``Preset``, the other modules one preset each."""
