"""A sync in which everything happens that a plain sync may do, between identities with policies.

Small and large objects, tags, a copy that is gone on with, one that starts over, verification,
report, sensor and cleaner: between two prefixes, through wires that see every request.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_s3resume.hooks._target import Target
from airflow_provider_s3resume.plan.policies import Policy
from airflow_provider_s3resume.plan.sides import Places, parse_places
from airflow_provider_s3resume.plan.strays import HOUR_S, CleaningRules
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.transfer.strays import clean_strays
from tests.support.demo_data import MIB, bytes_of
from tests.support.iam import Gate, Policies, place_of
from tests.support.parity_world import PART, PARTS_OF_5_MIB, S3Trip
from tests.support.wire import Wire
from tests.support.wire_rules import Exchange, Match, Replace, Rule

TAGS = "class=public&team=data%20platform"
_CODE = "InvalidArgument"
_BROKEN = Replace(status=400, body=f"<Error><Code>{_CODE}</Code></Error>".encode())


@dataclass(frozen=True, kw_only=True, slots=True)
class PermittedSync:
    """The trip, its wires, and the prefixes that it is limited to.

    :param prefixes: of source and target.
    """

    trip: S3Trip
    source_wire: Wire
    target_wire: Wire
    prefixes: tuple[str, str]

    @property
    def places(self) -> Places:
        """Source, target and state location, as policies name them."""
        sides = self.trip.sides(*self.prefixes)
        return parse_places(sides["source_uri"], sides["target_uri"], sides["state_uri"])

    def limit(self, policies: Mapping[str, Policy]) -> tuple[Gate, Gate]:
        """Let both identities do what these policies allow, and nothing else."""
        gates = (
            Gate(Policies([policies["source"]]), self.trip.source.client),
            Gate(Policies([policies["target"], policies["state"]]), self.trip.target.client),
        )
        gates[0].stand_before(self.source_wire)
        gates[1].stand_before(self.target_wire)
        return gates

    def requests(self) -> dict[str, list[Exchange]]:
        """Return all requests so far by the place that they are about."""
        places, found = self.places, self.target_wire.exchanges
        of_state = [one for one in found if _is_in_state(one, places)]
        return {
            "source": self.source_wire.exchanges,
            "target": [one for one in found if one not in of_state],
            "state": of_state,
        }

    def run(self) -> Mapping[str, Any]:
        """Do everything; return the figures of the first run's report."""
        self.fill()
        report = self.trip.sync(*self.prefixes, part_size=PART).report
        self._resume()
        self._start_over()
        assert self.trip.sense(*self.prefixes) is None
        self._clean()
        return report

    def fill(self) -> None:
        """Put objects below the source's prefix, and some beside it."""
        source, (below, _) = self.trip.source, self.prefixes
        source.put(f"{below}small", b"small", ContentType="text/plain", Tagging=TAGS)
        source.put(f"{below}dir/empty")
        source.put(f"{below}large", bytes_of("large", 17 * MIB), Tagging=TAGS)
        source.put_parts(f"{below}parts", [bytes_of("1", PART), b"end"])
        if below:
            source.put("beside", b"nobody may read this")
            self.trip.target.put("beside", b"nobody may read this")

    def arrived(self) -> None:
        """Make sure that all below the source's prefix is below the target's."""
        below, above = self.prefixes
        wanted = [key for key in self.trip.source.all_keys() if key.startswith(below)]
        pairs = {f"{above}{key.removeprefix(below)}": key for key in wanted}
        self.trip.arrived({**pairs, **({"beside": "beside"} if below else {})})

    def _resume(self) -> None:
        """Fail in the middle of an object, and go on."""
        batch = self._fail_in_the_middle("resumed", "old")
        self.trip.transfer(batch, try_number=2, **PARTS_OF_5_MIB)

    def _start_over(self) -> None:
        """Fail in the middle of an object that is replaced then."""
        batch = self._fail_in_the_middle("replaced", "old")
        self._put("replaced", "new")
        self.trip.transfer(batch, try_number=2, **PARTS_OF_5_MIB)

    def _fail_in_the_middle(self, key: str, seed: str) -> dict[str, Any]:
        self._put(key, seed)
        refused = Match(operation="UploadPart", path=f"/{key}$", query={"partNumber": "3"})
        self.target_wire.add(Rule(when=refused, action=_BROKEN, times=1))
        (batch,), _ = self.trip.plan(*self.prefixes)
        try:
            self.trip.transfer(batch, **PARTS_OF_5_MIB)
        except AirflowFailException as error:
            if _CODE in str(error):
                return batch
            raise
        raise AssertionError(f"the copy of {key} did not fail")

    def _put(self, key: str, seed: str) -> None:
        pieces = [bytes_of(f"{seed} {n}", PART) for n in range(3)]
        self.trip.source.put_parts(f"{self.prefixes[0]}{key}", [*pieces, b"end"])

    def _clean(self) -> None:
        """Let a copy fail, and clear away two hours later what it has left."""
        self._fail_in_the_middle("left", "old")
        sides = self.trip.sides(*self.prefixes)
        opened = Target(
            conn_id=sides["target_conn_id"], uri=sides["target_uri"], state_uri=sides["state_uri"]
        ).open()
        report = clean_strays(
            opened.store,
            opened.state,
            CleaningRules(older_than_s=HOUR_S, dry_run=False),
            prefix=opened.place.prefix,
            run_id="clean",
            now=time.time() + 2 * HOUR_S,
            stop=StopSignal(),
        )
        report.raise_for_failures()
        assert report.uploads_aborted == 1
        self.trip.source.client.delete_object(
            Bucket=self.trip.source.bucket, Key=f"{self.prefixes[0]}left"
        )


def _is_in_state(exchange: Exchange, places: Places) -> bool:
    bucket, key = place_of(exchange)
    about = key or exchange.query.get("prefix", "")
    return bucket == places.state.bucket and about.startswith(places.state.prefix)
