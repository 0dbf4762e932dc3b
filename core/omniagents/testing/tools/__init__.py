"""x"""


class ToolContract:
    """Nothing yet."""
