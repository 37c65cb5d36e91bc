"""The releases of Airflow and Python that the wheel is installed beside and run on."""
