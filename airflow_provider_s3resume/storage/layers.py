"""The behaviours that every store can be wrapped in; ``storage.build`` stacks them."""

from __future__ import annotations

from airflow_provider_s3resume.storage._layer import Layer, StoreCall
from airflow_provider_s3resume.storage.adaptive import Adaptive, requests_of
from airflow_provider_s3resume.storage.express import Requests
from airflow_provider_s3resume.storage.metering import Meter, Metered, MeterReading
from airflow_provider_s3resume.storage.rates import Budget, RateLimited, Rates
from airflow_provider_s3resume.storage.retrying import Retrying, RetryPolicy, Wait, sleep_through
from airflow_provider_s3resume.storage.sorting import SortedListing

__all__ = [
    "Adaptive",
    "Budget",
    "Layer",
    "Meter",
    "MeterReading",
    "Metered",
    "RateLimited",
    "Rates",
    "Requests",
    "RetryPolicy",
    "Retrying",
    "SortedListing",
    "StoreCall",
    "Wait",
    "requests_of",
    "sleep_through",
]
