"""The books' protocol, step by step. Each function below yields the atomic steps of one actor in one state.

What is atomic here is atomic there: a transaction of the database, one write to the journal, one write to a socket, one look
at a clock. Between any two of them a process can be killed, stopped, cut off, or overtaken. A transaction begins with the
fence (`_batch`): it does nothing for an epoch that was taken over, and renews the lease otherwise; its COMMIT may happen and
the answer be lost. Time has no length: whenever a gateway is down, stopped or cut off its lease can run out, first by its own
deadline, which was measured from before the renewal was sent, later by the database's clock.

Where the protocol has choices, these were made: only the last epoch of a gateway lives for ever; a request is asked at one
gateway; a lease is idle when no request of its tenant runs there; who settles for a dead gateway reads the journal at that
moment. A request that is finished is audited at once and forgotten, which changes nothing for the others and keeps the
number of states small.

Left out: prices and input tokens (one token is one unit), grants' expiry, rolling holds, limits per minute, idempotency keys,
and how long anything takes: that a flush comes every 100 ms, or a recall within 2 s, is not what this proves.
"""

from collections.abc import Iterator

from tests.proof.model.explorer import Step
from tests.proof.model.state import (
    ASKED,
    CHECKED,
    CLOSED,
    DOWN,
    ENDING,
    GRANT,
    LEASE,
    LIVE,
    LOCALLY_OUT,
    NEW,
    NONE,
    OPEN,
    ORPHAN,
    OUT,
    OVER,
    PAUSED,
    READY,
    RECORDED,
    RESOLVED,
    SEEN,
    SENT,
    STARTING,
    TAKEN,
    UNRECORDED,
    UP,
    VALID,
    Epoch,
    Fault,
    Gateway,
    Request,
    Scenario,
    State,
    put,
)  # fmt: skip

Steps = Iterator[Step[State]]


class Books:
    """The protocol in one scenario, whole or with one fault planted."""

    def __init__(self, scenario: Scenario, fault: Fault = Fault.NONE) -> None:
        self.scenario = scenario
        self.fault = fault
        self.tenants = range(len(scenario.credit))
        self.held = scenario.chunks - (fault is Fault.HOLD_TOO_SMALL)

    def start(self) -> State:
        """Both gateways are up in their first epoch; nobody has asked anything."""
        lives, nothing, nowhere = self.scenario.lives, (0,) * len(self.tenants), (False,) * len(self.tenants)
        unborn = Epoch(slices=nothing, recalled=nowhere)
        first = unborn._replace(life=LIVE, lease=VALID)
        epochs = tuple(first if number % lives == 0 else unborn for number in range(2 * lives))
        gateways = tuple(Gateway(epoch=gateway * lives) for gateway in range(2))
        return State(self.scenario.credit, nothing, nothing, epochs, gateways, (Request(),) * len(self.scenario.requests))

    def steps(self, s: State) -> Steps:
        """All that can happen next. A finished request is audited before anything else: that step touches nothing else."""
        for r, request in enumerate(s.requests):
            if request.step is OVER and self.is_finished(s, request):
                yield Step(("close", r), s._replace(requests=put(s.requests, r, Request(CLOSED, billed=request.billed))))
                return
        for r, request in enumerate(s.requests):
            if request.step is not CLOSED:
                yield from self._client(s, r, request)
        for g, gateway in enumerate(s.gateways):
            yield from self._world(s, g, gateway)
            if gateway.process is UP:
                yield from self._process(s, gateway)
                if gateway.linked:
                    yield from self._database(s, g, gateway)
            elif gateway.process is DOWN:
                yield Step(("restart", g), self._reborn(s, g, gateway))
            elif gateway.process is STARTING:
                yield Step(("lock", g), _gateway(s, g, gateway._replace(process=UP)))

    # What is true of a state

    def is_last(self, epoch: int) -> bool:
        return epoch % self.scenario.lives == self.scenario.lives - 1

    def owner(self, epoch: int) -> int:
        """The gateway whose epoch it is."""
        return epoch // self.scenario.lives

    def open_holds(self, s: State, tenant: int) -> int:
        """What the tenant's open holds come to."""
        return self.held * sum(
            request.hold is OPEN and self.scenario.requests[r][0] == tenant for r, request in enumerate(s.requests)
        )

    def is_process_gone(self, s: State, epoch: int) -> bool:
        """The lock of the epoch is free: its process was killed, or is another by now."""
        gateway = s.gateways[self.owner(epoch)]
        return gateway.process in (DOWN, STARTING) or gateway.epoch != epoch

    def has_unreported(self, s: State, request: Request) -> bool:
        """Its epoch lost it, and its process or its journal knows of more than usage row and waiver together."""
        if request.epoch < 0 or self.fault is Fault.NO_LATE_WAIVER:
            return False
        epoch = s.epochs[request.epoch]
        return (
            epoch.life is TAKEN and request.recorded > max(request.billed + request.waived, request.reported)
            and (epoch.disk or not self.is_process_gone(s, request.epoch))
        )  # fmt: skip

    def is_finished(self, s: State, request: Request) -> bool:
        """Nobody has anything more to do for it."""
        return request.step in (OVER, CLOSED) and request.hold is not OPEN and not self.has_unreported(s, request)

    def is_at_rest(self, s: State) -> bool:
        """Every request is finished, or is in the hands of a process that is stopped or cut off and has lost it; every epoch
        without a working process is taken over; nothing is lent.
        """
        for request in s.requests:
            if request.step in (NEW, CLOSED) or self.is_finished(s, request):
                continue
            if request.hold is OPEN or s.epochs[request.epoch].life is not TAKEN:
                return False
            gateway = s.gateways[self.owner(request.epoch)]
            if gateway.process is UP and gateway.linked:
                return False
        for number, epoch in enumerate(s.epochs):
            if any(epoch.slices):
                return False
            if epoch.life is LIVE:
                gateway = s.gateways[self.owner(number)]
                if self.is_process_gone(s, number) or gateway.process is PAUSED or not gateway.linked:
                    return False
        return True

    # Clients

    def _client(self, s: State, r: int, request: Request) -> Steps:
        gateway = s.gateways[self.scenario.requests[r][1]]
        if request.step is NEW:
            if gateway.process is UP and not gateway.fenced:
                step = READY if self.fault is Fault.SETTLE_BEFORE_HOLD else ASKED
                yield Step(("ask", r), _with(s, r, request._replace(step=step, epoch=gateway.epoch)), progress=False)
        elif r in self.scenario.hang_up and not request.gone and request.step in (ASKED, READY, CHECKED, RECORDED):
            yield Step(("hang up", r), _with(s, r, request._replace(gone=True)), progress=False)

    # What befalls a gateway

    def _world(self, s: State, g: int, gateway: Gateway) -> Steps:
        epoch = s.epochs[gateway.epoch]
        if (gateway.process is not UP or not gateway.linked) and epoch.life is LIVE:
            if epoch.lease == VALID:
                yield Step(("local deadline", g), _epoch(s, gateway.epoch, epoch._replace(lease=LOCALLY_OUT)))
            elif epoch.lease == LOCALLY_OUT:
                yield Step(("lease out", g), _epoch(s, gateway.epoch, epoch._replace(lease=OUT)))
        if not self.is_last(gateway.epoch) and gateway.process is not DOWN:
            yield from self._harm(s, g, gateway)
        if gateway.process is PAUSED:
            back = _gateway(s, g, gateway._replace(process=UP))
            yield Step(("resume", g), _locked(back, gateway.epoch, locked=False), progress=False)
        if not gateway.linked:
            back = _gateway(s, g, gateway._replace(linked=True))
            yield Step(("heal", g), _locked(back, gateway.epoch, locked=False), progress=False)
        for number, epoch in enumerate(s.epochs):
            if epoch.locked and self.owner(number) == g and self.fault is not Fault.NO_IDLE_TIMEOUT:
                yield Step(("idle timeout", g), _locked(s, number, locked=False))

    def _harm(self, s: State, g: int, gateway: Gateway) -> Steps:
        """Each kind can strike between two transactions; those that close no connection also inside one, which then keeps
        the epoch's row locked until the database gives up on it.
        """
        scenario, harms = self.scenario, list[tuple[str, State, bool]]()
        if g in scenario.crash:
            harms.append(("kill", self._killed(s, g, gateway), False))
        if g in scenario.burn:
            harms.append(("burn", self._burnt(self._killed(s, g, gateway), g), True))
        if g in scenario.pause and gateway.process is UP:
            harms.append(("pause", _gateway(s, g, gateway._replace(process=PAUSED)), True))
        if g in scenario.cut and gateway.process is UP and gateway.linked:
            harms.append(("cut", _gateway(s, g, gateway._replace(linked=False)), True))
        at_work = gateway.process is UP and gateway.linked and not gateway.fenced and s.epochs[gateway.epoch].life is LIVE
        for verb, harmed, silent in harms:
            yield Step((verb, g), harmed, progress=False)
            if silent and at_work:
                yield Step((f"{verb} in a transaction", g), _locked(harmed, gateway.epoch, locked=True), progress=False)

    def _killed(self, s: State, g: int, gateway: Gateway) -> State:
        """The process is gone with its memory and its connections; journal and database stay."""
        requests = tuple(
            request._replace(step=OVER) if request.epoch == gateway.epoch and request.step not in (OVER, CLOSED) else request
            for request in s.requests
        )
        down = gateway._replace(process=DOWN, linked=True, fenced=False)
        return _locked(s._replace(requests=requests, gateways=put(s.gateways, g, down)), gateway.epoch, locked=False)

    def _burnt(self, s: State, g: int) -> State:
        """The machine is gone with its journals. Lost is at most what was recorded and is neither flushed nor accounted for."""
        mine = [number for number in range(len(s.epochs)) if self.owner(number) == g]
        requests = tuple(_without_journal(request) if request.epoch in mine else request for request in s.requests)
        epochs = tuple(epoch._replace(disk=False) if number in mine else epoch for number, epoch in enumerate(s.epochs))
        return s._replace(requests=requests, epochs=epochs)

    def _reborn(self, s: State, g: int, gateway: Gateway) -> State:
        """The next epoch: its row is seen by others only when its lock is held, so that nobody takes it over at birth."""
        number = gateway.epoch + 1
        epoch = s.epochs[number]._replace(life=LIVE, lease=VALID, disk=True)
        process = STARTING if self.fault is Fault.LOCK_AFTER_ROW else UP
        return _gateway(_epoch(s, number, epoch), g, Gateway(process, number, linked=gateway.linked))

    # The release of chunks: what a process does without the database

    def _process(self, s: State, gateway: Gateway) -> Steps:
        epoch = s.epochs[gateway.epoch]
        for r, request in enumerate(s.requests):
            if request.epoch != gateway.epoch:
                continue
            if request.step is READY:
                yield from self._next_chunk(s, r, request, gateway, epoch)
            elif request.step in (CHECKED, RECORDED, UNRECORDED, SENT):
                yield self._release(s, r, request, epoch)
            elif request.step is ASKED and request.gone:
                yield Step(("leave hold", r), _with(s, r, request._replace(step=ORPHAN)))
            elif request.step in (ASKED, ORPHAN, ENDING) and gateway.fenced:
                yield Step(("give up", r), _with(s, r, request._replace(step=OVER)))

    def _next_chunk(self, s: State, r: int, request: Request, gateway: Gateway, epoch: Epoch) -> Steps:
        if gateway.fenced:
            yield Step(("give up", r), _with(s, r, request._replace(step=OVER)))
        elif request.gone or request.confirmed == self.scenario.chunks:
            yield Step(("end", r), _with(s, r, request._replace(step=ENDING)))
        elif epoch.lease == VALID or self.fault is Fault.NO_LOCAL_DEADLINE:
            yield Step(("check", r), _with(s, r, request._replace(step=CHECKED)))

    def _release(self, s: State, r: int, request: Request, epoch: Epoch) -> Step[State]:
        """Deadline, journal, bytes, journal: once the deadline was looked at, nothing but harm stops the chunk."""
        step = request.step
        if step is CHECKED and self.fault is Fault.JOURNAL_AFTER_RELEASE:
            return Step(("send", r), _with(s, r, _sent(request._replace(step=UNRECORDED), epoch)))
        if step is CHECKED:
            return Step(("record", r), _with(s, r, request._replace(step=RECORDED, recorded=request.recorded + 1)))
        if step is UNRECORDED:
            return Step(("record", r), _with(s, r, request._replace(step=SENT, recorded=request.recorded + 1)))
        if step is RECORDED and request.gone:
            return Step(("cannot send", r), _with(s, r, request._replace(step=ENDING)))
        if step is RECORDED:
            return Step(("send", r), _with(s, r, _sent(request._replace(step=SENT), epoch)))
        return Step(("confirm", r), _with(s, r, request._replace(step=READY, confirmed=request.recorded)))

    # Transactions

    def _database(self, s: State, g: int, gateway: Gateway) -> Steps:
        epoch = s.epochs[gateway.epoch]
        yield from self._reports(s, g, gateway)
        if gateway.fenced:
            yield from self._begin_again(s, g, gateway)
            return
        if epoch.life is TAKEN and self.fault is not Fault.NO_FENCING:
            yield Step(("fenced", g), _gateway(s, g, gateway._replace(fenced=True)))
            return
        if epoch.lease != VALID:
            yield from self._batch(s, gateway, s, s, ("renew", g))
        for r, request in enumerate(s.requests):
            if request.epoch == gateway.epoch:
                yield from self._books_of(s, r, request, gateway)
        if not self.scenario.one_home:
            yield from self._flush(s, g, gateway)
        if self.scenario.leases:
            yield from self._give_back(s, g, gateway)
        yield from self._take_over(s, g, gateway)

    def _begin_again(self, s: State, g: int, gateway: Gateway) -> Steps:
        """Only when all its requests are ended and all it knows of them is told."""
        if all(
            request.step is CLOSED or (request.step is OVER and not self.has_unreported(s, request))
            for request in s.requests if request.epoch == gateway.epoch
        ):  # fmt: skip
            yield Step(("begin again", g), self._reborn(s, g, gateway))

    def _books_of(self, s: State, r: int, request: Request, gateway: Gateway) -> Steps:
        if request.step is ORPHAN:
            yield from self._orphan(s, r, request, gateway)
        elif request.step in (ASKED, SEEN):
            yield from self._hold(s, r, request, gateway)
        elif request.step is ENDING:
            yield from self._settle(s, r, request, gateway)

    def _batch(self, s: State, gateway: Gateway, done: State, answered: State, label: tuple[str | int, ...]) -> Steps:
        """A transaction whose fence let it through: the lease is renewed, its answer may be lost.

        `done` is what the COMMIT makes of the database, `answered` that and what the process then knows.
        """
        number = gateway.epoch
        lease = s.epochs[number].lease
        if answered is not s or lease != VALID:
            yield Step(label, self._renewed(answered, number, VALID))
        if self.scenario.lost_answers and not self.is_last(number) and (done is not s or lease == OUT):
            lost = self._renewed(done, number, max(lease, LOCALLY_OUT))
            yield Step((f"{label[0]}, answer lost", *label[1:]), lost, progress=False)

    def _renewed(self, s: State, number: int, lease: int) -> State:
        epoch = s.epochs[number]
        if epoch.lease == lease or (epoch.life is not LIVE and self.fault is not Fault.NO_FENCING):
            return s
        return _epoch(s, number, epoch._replace(lease=lease))

    def _hold(self, s: State, r: int, request: Request, gateway: Gateway) -> Steps:
        """Asked for again, it is answered with what there is: the hold, or that it is settled. A new one is made once."""
        if request.hold is OPEN:
            yield from self._batch(s, gateway, s, _with(s, r, request._replace(step=READY)), ("hold again", r))
        elif request.hold is RESOLVED:
            yield Step(("refuse settled", r), _with(s, r, request._replace(step=OVER)))
        elif self.fault is Fault.CHECK_THEN_ACT and request.step is ASKED and self._is_enough(s, r):
            yield Step(("read balance", r), _with(s, r, request._replace(step=SEEN)))
        else:
            yield from self._new_hold(s, r, request, gateway)

    def _new_hold(self, s: State, r: int, request: Request, gateway: Gateway) -> Steps:
        held = self._held(s, r, request, gateway)
        now = held.requests[r]
        if now.hold is OPEN:
            yield from self._batch(s, gateway, held, _with(held, r, now._replace(step=READY)), ("hold", r))
        elif held is not s:
            yield from self._batch(s, gateway, held, held, ("refuse" if now.step is OVER else "recall", r))
        elif self.fault is Fault.REFUSE_AFTER_THE_WAIT:
            yield Step(("refuse", r), _with(s, r, self._refused(s, r, request)))

    def _orphan(self, s: State, r: int, request: Request, gateway: Gateway) -> Steps:
        """Its request left while the hold was on its way: it may arrive yet, and is swept then."""
        if request.hold is OPEN:
            over = self._resolved(s, r, 0, 0, OVER)
            yield from self._batch(s, gateway, over, over, ("sweep", r))
            return
        yield Step(("hold dropped", r), _with(s, r, request._replace(step=OVER)))
        if request.hold is NONE:
            held = self._held(s, r, request, gateway)
            if held.requests[r].hold is OPEN:
                yield Step(("hold lands", r), held, progress=False)

    def _is_enough(self, s: State, r: int) -> bool:
        return s.grant[self.scenario.requests[r][0]] >= self.held

    def _held(self, s: State, r: int, request: Request, gateway: Gateway) -> State:
        """The hold on the own lease, on a new slice, or on the grant; else others' leases are recalled; else it is refused.

        The same state again means: wait for the recall.
        """
        tenant, number, amount = self.scenario.requests[r][0], gateway.epoch, self.held
        if self.fault is Fault.CHECK_THEN_ACT:
            return _opened(_moved(s, tenant, -amount), r, request, tenant, amount, GRANT)
        if not self.scenario.leases:
            if s.grant[tenant] < amount:
                return _with(s, r, self._refused(s, r, request))
            return _opened(_moved(s, tenant, -amount), r, request, tenant, amount, GRANT)
        own = s.epochs[number].slices[tenant]
        if own >= amount:
            return _opened(_sliced(s, number, tenant, own - amount), r, request, tenant, amount, LEASE)
        s2 = _moved(_sliced(s, number, tenant, 0), tenant, own) if own else s  # too small a rest goes back in the same batch
        left = s2.grant[tenant]
        if left >= self.scenario.strict_below and left >= self.scenario.slice and not s2.epochs[number].recalled[tenant]:
            taken = 0 if self.fault is Fault.LEASE_NOT_DEDUCTED else -self.scenario.slice
            s3 = _sliced(_moved(s2, tenant, taken), number, tenant, self.scenario.slice - amount)
            return _opened(s3, r, request, tenant, amount, LEASE)
        s3 = self._recalled(s2, number, tenant)
        if left >= amount:
            return _opened(_moved(s3, tenant, -amount), r, request, tenant, amount, GRANT)
        if any(epoch.slices[tenant] for other, epoch in enumerate(s.epochs) if other != number):
            return s3
        return _with(s3, r, self._refused(s, r, request))

    def _refused(self, s: State, r: int, request: Request) -> Request:
        """402. The ghost compares with all that the tenant has free, wherever it lies."""
        tenant = self.scenario.requests[r][0]
        free = s.grant[tenant] + sum(epoch.slices[tenant] for epoch in s.epochs)
        return request._replace(step=OVER, refused_wrongly=free >= self.held)

    def _recalled(self, s: State, number: int, tenant: int) -> State:
        """Strict mode: everybody else is asked to give back what is free on his lease."""
        epochs = tuple(
            epoch._replace(recalled=put(epoch.recalled, tenant, True))
            if other != number and epoch.slices[tenant] and not epoch.recalled[tenant] else epoch
            for other, epoch in enumerate(s.epochs)
        )  # fmt: skip
        return s if epochs == s.epochs else s._replace(epochs=epochs)

    def _settle(self, s: State, r: int, request: Request, gateway: Gateway) -> Steps:
        """At what was confirmed; the rest of what was recorded is waived. The second answer is the first one's row."""
        if request.hold is NONE and self.fault is Fault.SETTLE_BEFORE_HOLD:
            tenant = self.scenario.requests[r][0]
            s = _opened(_moved(s, tenant, -self.held), r, request, tenant, self.held, GRANT)
        answered = self._resolved(s, r, request.confirmed, request.recorded - request.confirmed, OVER)
        done = _with(answered, r, answered.requests[r]._replace(step=ENDING))
        yield from self._batch(s, gateway, s if done == s else done, answered, ("settle", r))

    def _resolved(self, s: State, r: int, billed: int, waived: int, step: str) -> State:
        """Post what is billed, void the rest, write the usage row: one transaction, once. A second one changes nothing."""
        request, tenant, held = s.requests[r], self.scenario.requests[r][0], self.held
        if request.hold is not OPEN and self.fault is not Fault.SETTLE_TWICE:
            return _with(s, r, request._replace(step=step))
        if self.fault is Fault.REST_KEPT:
            held = billed
        s = s._replace(
            pending=put(s.pending, tenant, s.pending[tenant] - held),
            revenue=put(s.revenue, tenant, s.revenue[tenant] + billed),
            requests=put(s.requests, r, request._replace(
                step=step, hold=RESOLVED, billed=request.billed + billed, waived=waived, resolutions=request.resolutions + 1,
            )),
        )  # fmt: skip
        epoch = s.epochs[request.epoch]
        if request.source is GRANT or epoch.life is TAKEN:
            return _moved(s, tenant, held - billed)
        if epoch.recalled[tenant]:
            return self._flag_down(_moved(s, tenant, held - billed), request.epoch, tenant)
        return _sliced(s, request.epoch, tenant, epoch.slices[tenant] + held - billed)

    def _flag_down(self, s: State, number: int, tenant: int) -> State:
        """The recall is over when nothing is free on the lease and no hold draws on it."""
        epoch = s.epochs[number]
        drawn = any(
            request.hold is OPEN and request.source is LEASE and request.epoch == number
            for r, request in enumerate(s.requests) if self.scenario.requests[r][0] == tenant
        )  # fmt: skip
        if drawn or epoch.slices[tenant]:
            return s
        return _epoch(s, number, epoch._replace(recalled=put(epoch.recalled, tenant, False)))

    def _flush(self, s: State, g: int, gateway: Gateway) -> Steps:
        """The watermarks of the live streams, both counts, into the database."""
        requests = tuple(
            request._replace(flushed_recorded=request.recorded, flushed_confirmed=request.confirmed)
            if request.epoch == gateway.epoch and request.hold is OPEN else request
            for request in s.requests
        )  # fmt: skip
        if requests != s.requests:
            done = s._replace(requests=requests)
            yield from self._batch(s, gateway, done, done, ("flush", g))

    def _give_back(self, s: State, g: int, gateway: Gateway) -> Steps:
        """On recall, and on idleness: what is free on the lease goes to the grant."""
        epoch = s.epochs[gateway.epoch]
        for tenant in self.tenants:
            if epoch.slices[tenant] and (epoch.recalled[tenant] or self._is_idle(s, gateway.epoch, tenant)):
                back = _moved(_sliced(s, gateway.epoch, tenant, 0), tenant, epoch.slices[tenant])
                done = self._flag_down(back, gateway.epoch, tenant)
                yield from self._batch(s, gateway, done, done, ("give back", g, tenant))

    def _is_idle(self, s: State, number: int, tenant: int) -> bool:
        """No request of the tenant runs there."""
        return all(
            request.epoch != number or request.step in (OVER, CLOSED)
            for r, request in enumerate(s.requests) if self.scenario.requests[r][0] == tenant
        )  # fmt: skip

    # Take-over

    def _take_over(self, s: State, g: int, gateway: Gateway) -> Steps:
        if self.fault is Fault.NO_TAKE_OVER:
            return
        for number, epoch in enumerate(s.epochs):
            if epoch.life is LIVE and number != gateway.epoch and self._may_take(s, g, number, epoch):
                done = self._taken(s, number, gateway.epoch)
                yield from self._batch(s, gateway, done, done, ("take over", g, number))
            elif epoch.life is TAKEN and epoch.taken_by == gateway.epoch:
                yield from self._clear_up(s, gateway, number, epoch)

    def _may_take(self, s: State, g: int, number: int, epoch: Epoch) -> bool:
        """In the same home at once when the lock is free; any epoch when its lease is out by the database's clock."""
        if epoch.locked:
            return False  # the statement waits for the row until the database ends the transaction that locks it
        return epoch.lease == OUT or (self._same_home(g, number) and self.is_process_gone(s, number))

    def _same_home(self, g: int, number: int) -> bool:
        return self.scenario.one_home or self.owner(number) == g

    def _taken(self, s: State, dead: int, taker: int) -> State:
        """The fence falls, for the dead epoch and for those that it had taken over itself."""
        return s._replace(epochs=tuple(
            epoch._replace(life=TAKEN, taken_by=taker, lease=OUT) if number == dead or epoch.taken_by == dead else epoch
            for number, epoch in enumerate(s.epochs)
        ))  # fmt: skip

    def _clear_up(self, s: State, gateway: Gateway, number: int, epoch: Epoch) -> Steps:
        """Settle each hold of the epoch at its watermark; give its leases back."""
        taker = self.owner(gateway.epoch)
        for r, request in enumerate(s.requests):
            if request.epoch == number and request.hold is OPEN:
                done = self._resolved_dead(s, r, request, by_journal=self._same_home(taker, number) and epoch.disk)
                yield from self._batch(s, gateway, done, done, ("settle dead", taker, r))
        if self.fault is Fault.LEASES_DIE_WITH_THEIR_GATEWAY:
            return
        for tenant in self.tenants:
            if epoch.slices[tenant]:
                done = _moved(_sliced(s, number, tenant, 0), tenant, epoch.slices[tenant])
                yield from self._batch(s, gateway, done, done, ("give dead back", taker, tenant))

    def _resolved_dead(self, s: State, r: int, request: Request, *, by_journal: bool) -> State:
        recorded = request.recorded if by_journal else request.flushed_recorded
        confirmed = request.confirmed if by_journal else request.flushed_confirmed
        unseen = request.recorded - recorded
        if self.fault is Fault.BILL_WHAT_IS_RECORDED:
            confirmed = recorded
        if self.fault is Fault.VOID_ON_RECOVERY:
            recorded = confirmed = 0
        if self.fault is Fault.WAIVE_ON_RECOVERY:
            confirmed = 0
        if self.fault is Fault.JOURNAL_GONE_IS_EMPTY and not s.epochs[request.epoch].disk:
            recorded = confirmed = 0
        request = request._replace(unseen=unseen)
        if self.fault is Fault.LATE_WAIVER_AS_A_DIFFERENCE and request.reported:
            request = request._replace(reported=request.reported + recorded)
        s = _with(s, r, request)
        if self.fault is Fault.JOURNAL_DELETED_EARLY:
            s = _epoch(s, request.epoch, s.epochs[request.epoch]._replace(disk=False))
        return self._resolved(s, r, confirmed, recorded - confirmed, request.step)

    def _reports(self, s: State, g: int, gateway: Gateway) -> Steps:
        """The late waiver, the one write that needs no fence: by the fenced process itself, or from the journal that it left
        by whoever is up in its home. It says what was recorded in all, so it may come twice, and before the settlement.
        """
        for r, request in enumerate(s.requests):
            if request.step is OVER and self.has_unreported(s, request):
                own = request.epoch == gateway.epoch and gateway.fenced
                left = self._same_home(g, request.epoch) and self.is_process_gone(s, request.epoch)
                if own or left:
                    yield Step(("report", g, r), _with(s, r, request._replace(reported=request.recorded)))


def _with(s: State, r: int, request: Request) -> State:
    return s._replace(requests=put(s.requests, r, request))


def _epoch(s: State, number: int, epoch: Epoch) -> State:
    return s._replace(epochs=put(s.epochs, number, epoch))


def _gateway(s: State, g: int, gateway: Gateway) -> State:
    return s._replace(gateways=put(s.gateways, g, gateway))


def _locked(s: State, number: int, *, locked: bool) -> State:
    epoch = s.epochs[number]
    return s if epoch.locked == locked else _epoch(s, number, epoch._replace(locked=locked))


def _moved(s: State, tenant: int, amount: int) -> State:
    """The grant's account, up or down."""
    return s._replace(grant=put(s.grant, tenant, s.grant[tenant] + amount))


def _sliced(s: State, number: int, tenant: int, left: int) -> State:
    """What is free on an epoch's lease of a tenant's credit."""
    epoch = s.epochs[number]
    return _epoch(s, number, epoch._replace(slices=put(epoch.slices, tenant, left)))


def _opened(s: State, r: int, request: Request, tenant: int, amount: int, source: str) -> State:
    opened = request._replace(hold=OPEN, source=source)
    return s._replace(
        pending=put(s.pending, tenant, s.pending[tenant] + amount), requests=put(s.requests, r, opened)
    )


def _sent(request: Request, epoch: Epoch) -> Request:
    return request._replace(got=request.got + 1, after=request.after + (epoch.life is TAKEN))


def _without_journal(request: Request) -> Request:
    if request.hold is OPEN:
        return request._replace(lost=request.recorded - request.flushed_recorded)
    return request._replace(lost=max(0, request.recorded - request.billed - request.waived - request.late))
