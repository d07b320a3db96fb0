import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from tests import postgres
from tests.races.arena import Arena, Plan
from tests.races.nursery import Nursery


async def main(kind, n):
    folder = Path(tempfile.mkdtemp(prefix="arena-", dir="/dev/shm"))
    seed = random.randrange(2**32)
    server=None
    if kind=="one": plan=Plan("one"); place=str(folder/"millrace.db")
    if kind=="many": plan=Plan("many", gateways=4, lease_s=0.5, pace_s=0.05); place=str(folder/"millrace.db")
    if kind=="pg":
        server=postgres.Server(postgres.FAST); server.start()
        name=server.new_database(server.migrated); place=server.url(name); plan=Plan("pg", gateways=4, homes=2, lease_s=1.0, pace_s=0.05, disaster_s=5)
    a=Arena(plan, folder, place, seed, Nursery(), server)
    t=time.monotonic()
    await a.run(lambda x: time.monotonic()-t>n)
    t1=time.monotonic()
    print(kind, "seed", seed, folder, round(t1-t,1))
    print(a.counts, a.tally)
    print("findings", len(a.findings)); print("\n".join(a.findings[:15]))
if __name__=="__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
