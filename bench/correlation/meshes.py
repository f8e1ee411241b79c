"""Who calls whom: five public example shops and power-law graphs.

Only architecture facts are used, service names and calls, written down from the projects' own descriptions:

* Online Boutique: github.com/GoogleCloudPlatform/microservices-demo, README, "Architecture"
* Sock Shop: github.com/microservices-demo/microservices-demo, docs, "Design"
* Bookinfo: istio.io/latest/docs/examples/bookinfo
* social network: github.com/delimitrou/DeathStarBench, socialNetwork, README; Y. Gan et al., ASPLOS 2019
* Train Ticket: github.com/FudanSELab/train-ticket (0.2: a database each); X. Zhou et al., TSE 2021
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

Calls = dict[str, list[str]]  # caller -> callees, every service a key

_BOUTIQUE = """
loadgenerator: frontend
frontend: productcatalog currency cart recommendation shipping checkout ad
checkout: productcatalog cart currency shipping email payment
recommendation: productcatalog
cart: redis-cart
"""

_SOCKS = """
edge-router: front-end
front-end: catalogue carts orders user session-db
catalogue: catalogue-db
carts: carts-db
user: user-db
orders: carts user payment shipping orders-db
shipping: rabbitmq
queue-master: rabbitmq
"""

_BOOKINFO = """
ingressgateway: productpage
productpage: details reviews
reviews: ratings
ratings: mongodb
"""

_SOCIAL = """
nginx: compose-post home-timeline user-timeline user social-graph media-frontend
media-frontend: media-mongodb media-memcached
compose-post: unique-id media text user post-storage user-timeline home-timeline
text: url-shorten user-mention
url-shorten: url-shorten-mongodb url-shorten-memcached
user-mention: user-mongodb user-memcached
user: user-mongodb user-memcached social-graph
social-graph: social-graph-mongodb social-graph-redis user
post-storage: post-storage-mongodb post-storage-memcached
user-timeline: user-timeline-mongodb user-timeline-redis post-storage
home-timeline: home-timeline-redis post-storage social-graph
"""

_TRAINS = """
ui-dashboard: auth user verification-code travel travel2 travel-plan preserve preserve-other order order-other
ui-dashboard: inside-payment cancel rebook execute contacts assurance food consign route station news ticket-office
ui-dashboard: admin-basic-info admin-order admin-route admin-travel admin-user voucher
admin-basic-info: station train config price contacts
admin-order: order order-other
admin-route: route
admin-travel: travel travel2
admin-user: user
auth: verification-code auth-mongo
basic: station train route price
cancel: order order-other inside-payment user notification
config: config-mongo
consign: consign-price consign-mongo
consign-price: consign-price-mongo
contacts: contacts-mongo
assurance: assurance-mongo
execute: order order-other
food: food-map travel route food-mongo
food-map: food-map-mongo
inside-payment: order order-other payment inside-payment-mongo
notification: rabbitmq
order: station order-mongo
order-other: station order-other-mongo
payment: payment-mongo
preserve: contacts security assurance food consign user station travel ticketinfo seat order notification
preserve-other: contacts security assurance food consign user station travel2 ticketinfo seat order-other
preserve-other: notification
price: price-mongo
rebook: order order-other travel travel2 seat train route station inside-payment
route: route-mongo
route-plan: route station travel travel2
seat: travel travel2 order order-other config
security: order order-other security-mongo
station: station-mongo
ticketinfo: basic
train: train-mongo
travel: ticketinfo route train seat order travel-mongo
travel2: ticketinfo route train seat order-other travel2-mongo
travel-plan: route-plan travel travel2 ticketinfo seat station
user: auth user-mongo
voucher: order order-other voucher-mysql
"""


def _read(text: str) -> Calls:
    calls: Calls = {}
    for line in text.split("\n"):
        caller, _, callees = line.partition(":")
        if caller:
            calls.setdefault(caller, []).extend(callees.split())
    for callee in [c for callees in calls.values() for c in callees]:
        calls.setdefault(callee, [])
    return calls


def power_law(size: int, seed: int = 0) -> Calls:
    """Each service calls up to three older ones, popular ones rather (A.-L. Barabasi, R. Albert, 1999); a few call
    back, so that there are cycles.
    """
    dice = random.Random(f"power-law/{size}/{seed}")
    names = [f"svc-{n:05}" for n in range(size)]
    calls: Calls = {name: [] for name in names}
    urn = [0]  # a service lies in it once, and once more for each caller
    for n in range(1, size):
        for callee in sorted({dice.choice(urn) for _ in range(dice.choice((1, 2, 2, 3)))}):
            calls[names[n]].append(names[callee])
            urn.append(callee)
        urn.append(n)
        if dice.random() < 0.01:
            calls[names[dice.randrange(n)]].append(names[n])
    return calls


PUBLIC: Mapping[str, Calls] = {
    "bookinfo": _read(_BOOKINFO),
    "online-boutique": _read(_BOUTIQUE),
    "sock-shop": _read(_SOCKS),
    "social-network": _read(_SOCIAL),
    "train-ticket": _read(_TRAINS),
}
LARGE: Mapping[str, int] = {"power-law-1k": 1_000, "power-law-10k": 10_000}
NAMES: Sequence[str] = (*PUBLIC, *LARGE)


def calls_of(name: str) -> Calls:
    return PUBLIC[name] if name in PUBLIC else power_law(LARGE[name])
