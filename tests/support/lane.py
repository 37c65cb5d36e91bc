"""Batches of small objects between two real servers, through the lane and past it."""

from __future__ import annotations
