"""The on-policy loop and its mathematics: torch and numpy alone.

Nothing here imports Ray, vLLM, DeepSpeed or pydantic.
"""
