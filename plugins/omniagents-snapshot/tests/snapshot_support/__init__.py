"""What these tests share: a workspace without a guest, stores that fail, random trees."""
