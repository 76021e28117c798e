"""The study as a web page: entry, consent, cases, autosave, media, and the operator's view.

| route | what it does |
|---|---|
| `GET /s/TOKEN` | sets the cookie and leads to `/now`, so that the token leaves the address bar |
| `GET /now` | the page that the rater is at; as JSON where that is asked for |
| `POST /consent` `/next` `/language` `/withdraw` | forms |
| `POST /save` | `{slot, changes: [{field, value, na, note, seq, version, ms}]}`; 409 with what is newer |
| `POST /reveal` `/submit` | `{slot}`; 422 with what is missing |
| `POST /event` | `{slot, kind, data, ms}` |
| `GET /m/ADDRESS` | a medium, in parts where the browser asks for parts |
| `/room` `/say` `/upload` | see `rooms` |
| `GET /admin/enter/TOKEN`, `GET /admin` | how far the study is; from this machine only |

Every POST carries the CSRF token: as `x-csrf`, or as the form's field `csrf`.
"""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from polymodal.chat import ChatModel
from polymodal.judge.people.pages import FOLDER, Context, Desk, Pages, gallery
from polymodal.judge.people.quality import flags
from polymodal.judge.people.rooms import Rooms, room_routes
from polymodal.judge.people.store import Store
from polymodal.judge.people.study import Study
from polymodal.judge.people.tables import Rater, RefusedError, StaleError, UnavailableError
from polymodal.judge.people.verdicts import agreement, disagreements, drift
from polymodal.judge.web.guard import Guard, at_home, csrf_of
from polymodal.judge.web.media import ranged
from polymodal.media import MediaError

COOKIE = "rater"
FORM = 2**20  # bytes of any request but an upload
UPLOAD = 33 * 2**20
MOST = 50  # disagreements on the operator's page
BATCH = 100  # changes in one request
STATIC = {
    "study.css": "text/css",
    **dict.fromkeys(("study.js", "fields.js", "marks.js", "room.js"), "text/javascript"),
}


class Visit(NamedTuple):
    """A request of a known rater, and what it says."""

    rater: Rater
    csrf: str
    said: Mapping[str, Any]


class ForbiddenError(Exception):
    """No cookie, a wrong one, or no CSRF token: all alike from outside."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def app(
    study: Study,
    store: Store,
    partners: Mapping[str, ChatModel] = MappingProxyType({}),
    admin_token: str = "",
) -> FastAPI:
    """The study's pages as an ASGI application, for uvicorn.

    Args:
        study: what is asked.
        store: where answers go.
        partners: who talks in rooms, by the names that the study's pages and units use.
        admin_token: opens `/admin/enter/TOKEN`, from this machine only; "" closes it.
    """
    made = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    made.add_middleware(Guard, most=FORM, larger={"/upload": UPLOAD})
    desk, door = Desk(study, store, Pages(study, gallery(study))), Door(store)
    desk.rooms = Rooms(store, desk.pages, partners)
    made.state.desk = desk
    _refusals(made, desk)
    _entry_routes(made, desk, door)
    _form_routes(made, desk, door)
    _answer_routes(made, desk, door)
    _file_routes(made, desk, door)
    room_routes(made, desk.rooms, door.visitor, door.posted, slot_of)
    _admin_routes(made, desk, admin_token)
    return made


class Door:
    """Who comes: by the cookie, and for a POST by the CSRF token too."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def visitor(self, request: Request) -> Visit:
        """Who asks, by the cookie. Raises ForbiddenError."""
        token = request.cookies.get(COOKIE, "")
        rater = self.store.rater(token) if token else None
        if rater is None:
            raise ForbiddenError("token")
        return Visit(rater, csrf_of(token), {})

    async def posted(self, request: Request) -> AsyncIterator[Visit]:
        """Who posts, and what, with the CSRF token right. Raises ForbiddenError or RefusedError."""
        try:
            said = await self.said(request)
            yield await run_in_threadpool(self.checked, request, said)
        finally:
            await request.close()  # an upload is a file

    def checked(self, request: Request, said: Mapping[str, Any]) -> Visit:
        """The visit of a POST. Raises ForbiddenError: no rater, or not this rater's CSRF token."""
        visit = self.visitor(request)
        given = request.headers.get("x-csrf") or str(said.get("csrf", ""))
        if not hmac.compare_digest(given.encode(), visit.csrf.encode()):
            raise ForbiddenError("csrf")
        return visit._replace(said=said)

    @staticmethod
    async def said(request: Request) -> Mapping[str, Any]:
        """What a request says: a JSON object, or a form. Raises RefusedError for other JSON."""
        if not request.headers.get("content-type", "").startswith("application/json"):
            return dict(await request.form())
        try:
            said = json.loads(await request.body())
            said = json.loads(json.dumps(said, ensure_ascii=False).encode("utf-8", "replace"))
        except (ValueError, RecursionError):
            said = None  # above, halves of surrogate pairs became question marks: no page could show them
        if not isinstance(said, dict):
            raise RefusedError("invalid", "a JSON object is needed")
        return said


def _refusals(made: FastAPI, desk: Desk) -> None:
    """What is said where something cannot be done; never whether a token exists."""

    def reply(request: Request, code: int, what: str, body: Mapping[str, Any]) -> Response:
        sent = request.headers.get("content-type", "").startswith(("application/json", "multipart"))
        if sent or "json" in request.headers.get("accept", ""):
            return JSONResponse(dict(body), code)
        w = desk.pages.words(desk.study.language)
        text = [w[f"{what}_text"]]
        page = desk.pages.render("read.html", heading=w[f"{what}_head"], paragraphs=text, kind=what)
        return HTMLResponse(page, code)

    @made.exception_handler(ForbiddenError)
    def forbidden(request: Request, error: ForbiddenError) -> Response:
        noted = {"why": error.why, "path": request.url.path.split("/")[1][:40]}
        try:
            desk.store.event(None, None, "refused", noted)
        except UnavailableError:
            return reply(request, 503, "trouble", {"detail": "busy"})
        return reply(request, 403, "refused", {"detail": "refused"})

    @made.exception_handler(UnavailableError)
    def unavailable(request: Request, error: UnavailableError) -> Response:
        return reply(request, 503, "trouble", {"detail": "busy"})

    @made.exception_handler(RefusedError)
    def refused(request: Request, error: RefusedError) -> Response:
        code = {"not_yours": 404, "gone": 410, "done": 410, "state": 409}.get(error.reason, 422)
        body = {"detail": str(error), "reason": error.reason, "missing": list(error.fields)}
        return reply(request, code, "refused", body)


def _entry_routes(made: FastAPI, desk: Desk, door: Door) -> None:
    @made.get("/s/{token}")
    def enter(token: str, request: Request) -> Response:
        """A strict cookie is not sent on a redirect that began in a mail, so a page of ours leads on."""
        if desk.store.rater(token) is None:
            raise ForbiddenError("token")
        w = desk.pages.words(desk.study.language)
        reply = HTMLResponse(desk.pages.render("enter.html", heading=w["go_on"]))
        reply.set_cookie(
            COOKIE,
            token,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
            max_age=90 * 86400,
        )
        return reply

    @made.get("/")
    def root() -> Response:
        return RedirectResponse("/now", 303)

    @made.get("/now")
    def now(request: Request, visit: Annotated[Visit, Depends(door.visitor)]) -> Response:
        template, page = desk.page(visit.rater, visit.csrf)
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse({**page, "state": visit.rater.state})
        return HTMLResponse(desk.pages.render(template, **page))

    @made.get("/feedback/{slot_id}")
    def feedback(slot_id: int, visit: Annotated[Visit, Depends(door.visitor)]) -> Response:
        page = desk.feedback(visit.rater, visit.csrf, slot_id)
        return HTMLResponse(desk.pages.render("feedback.html", **page))


def _form_routes(made: FastAPI, desk: Desk, door: Door) -> None:
    @made.post("/consent")
    def consent(visit: Annotated[Visit, Depends(door.posted)]) -> Response:
        rater = desk.store.consent(visit.rater, visit.said.get("agreed") == "yes")
        if rater.state == "declined":
            return HTMLResponse(desk.pages.render("read.html", **desk.said(rater, "declined")))
        if desk.study.pages[rater.page].kind == "consent":
            desk.store.advance(rater, rater.page + 1)
        return RedirectResponse("/now", 303)

    @made.post("/next")
    def onward(visit: Annotated[Visit, Depends(door.posted)]) -> Response:
        page = str(visit.said.get("page", ""))
        if not page.isdecimal() or len(page) > 6:
            raise RefusedError("invalid", "a page number is needed")
        desk.store.advance(visit.rater, int(page))
        return RedirectResponse("/now", 303)

    @made.post("/language")
    def language(visit: Annotated[Visit, Depends(door.posted)]) -> Response:
        desk.store.choose(visit.rater, str(visit.said.get("language", "")))
        return RedirectResponse("/now", 303)

    @made.get("/leave")
    def leave(visit: Annotated[Visit, Depends(door.visitor)]) -> Response:
        return HTMLResponse(desk.pages.render("read.html", **desk.leaving(visit.rater, visit.csrf)))

    @made.post("/withdraw")
    def withdraw(visit: Annotated[Visit, Depends(door.posted)]) -> Response:
        rule = desk.study.retention.get("on_withdrawal", "ask")
        keep = rule == "keep" or (rule == "ask" and visit.said.get("keep") == "yes")
        desk.store.withdraw(visit.rater, keep)
        reply = HTMLResponse(desk.pages.render("read.html", **desk.said(visit.rater, "left")))
        reply.delete_cookie(COOKIE)
        return reply


def _answer_routes(made: FastAPI, desk: Desk, door: Door) -> None:
    def stored(request: Request, said: Mapping[str, Any]) -> Response:
        visit = door.checked(request, said)
        changes = visit.said.get("changes")
        if not isinstance(changes, list) or len(changes) > BATCH:
            raise RefusedError("invalid", f"a list of at most {BATCH} changes is needed")
        results = [_change(desk.store, visit.rater, slot_of(visit.said), change) for change in changes]
        codes = {"newer": 409, "wrong": 422}
        code = next((codes[why] for why in codes for result in results if why in result), 200)
        return JSONResponse({"results": results}, code)

    async def save(request: Request) -> Response:
        return await run_in_threadpool(stored, request, await door.said(request))

    made.add_route("/save", save, methods=["POST"])  # the most frequent by far: one thread, nothing injected

    @made.post("/reveal")
    def reveal(visit: Annotated[Visit, Depends(door.posted)]) -> Response:
        desk.store.reveal(visit.rater, slot_of(visit.said))
        return JSONResponse({"to": "/now"})

    @made.post("/submit")
    def submit(visit: Annotated[Visit, Depends(door.posted)]) -> Response:
        slot = desk.store.slot(visit.rater, slot_of(visit.said))
        desk.store.submit(visit.rater, slot.id)
        here = desk.study.pages[slot.page]
        taught = here.kind == "training" and here.options.get("feedback", True)
        told = taught and desk.study.units[slot.unit].gold
        return JSONResponse({"to": f"/feedback/{slot.id}" if told else "/now"})

    @made.post("/event")
    def event(visit: Annotated[Visit, Depends(door.posted)]) -> Response:
        data = visit.said.get("data")
        small = data if isinstance(data, dict) and len(json.dumps(data)) <= 2000 else {}
        slot = None if visit.said.get("slot") is None else slot_of(visit.said)
        kind = "".join(c for c in str(visit.said.get("kind", "")) if " " <= c <= "~")
        desk.store.event(visit.rater, slot, kind, small, number_of(visit.said.get("ms")))
        return JSONResponse({})


def slot_of(said: Mapping[str, Any]) -> int:
    """The place that a request is about. Raises RefusedError where that is no number."""
    slot = str(said.get("slot", ""))
    if not slot.isdecimal() or len(slot) > 9:
        raise RefusedError("not_yours", "no such place")
    return int(slot)


def number_of(value: Any) -> float:
    """A client's number, 0 where it is none."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12
    return float(value) if fits else 0.0


def _change(store: Store, rater: Rater, slot: int, change: Any) -> Context:
    """One change of one field stored, or what speaks against it."""
    if not isinstance(change, dict):
        raise RefusedError("invalid", "a change is an object")
    field = str(change.get("field", ""))[:200]
    seq, version = (min(max(int(number_of(change.get(n))), 0), 2**31 - 1) for n in ("seq", "version"))
    try:
        stored = store.save(
            rater, slot, field, change.get("value"), seq=seq, version=version,
            note=str(change.get("note") or "")[:2000], na=change.get("na") is True,
            client_ms=number_of(change.get("ms")),
        )  # fmt: skip
    except StaleError as stale:
        newer = stale.newer
        return {
            "field": field,
            "newer": {"value": newer.value, "na": newer.na, "note": newer.note, "version": newer.version},
        }
    except RefusedError as error:
        if error.reason in ("invalid", "locked", "early"):
            return {"field": field, "wrong": str(error), "reason": error.reason}
        raise
    return {"field": field, "version": stored.version, "seq": stored.seq}


def _file_routes(made: FastAPI, desk: Desk, door: Door) -> None:
    @made.get("/m/{address}")
    def medium(address: str, request: Request, visit: Annotated[Visit, Depends(door.visitor)]) -> Response:
        try:
            found = desk.pages.gallery.find(visit.rater.id, f"/m/{address}")
            found = found or desk.rooms.upload(visit.rater, f"/m/{address}")
        except MediaError:
            found = None
        if found is None:
            return JSONResponse({"detail": "not found"}, 404)
        status, headers, data = ranged(*found, request.headers.get("range", ""))
        return Response(data, status, headers)

    @made.get("/static/{name}")
    def static(name: str, request: Request) -> Response:
        if name not in STATIC:
            return JSONResponse({"detail": "not found"}, 404)
        data = (FOLDER / "static" / name).read_bytes()
        headers = {"etag": f'"{hashlib.sha256(data).hexdigest()[:16]}"', "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type=STATIC[name], headers=headers)


def overview(store: Store, rooms: Rooms) -> Context:
    """What the operator watches, as it stands now: progress, agreement, drift, flags, disagreements, cost."""
    progress = store.progress()
    counts = {f"places {k}": v for k, v in progress["slots"].items()}
    counts |= {f"raters {k}": v for k, v in progress["raters"].items()}
    least, most = progress["ratings_per_case"]
    counts |= {"answers stored": progress["answers"], "ratings a case": f"{least}–{most}"}
    left_out = store.study.exclusions
    tables: dict[tuple[str, ...], list[list[Any]]] = {
        ("Agreement", "question", "alpha", "interval of 95 %", "ratings"): [
            [name, f"{e.mean:.3f}", f"{e.low:.3f} to {e.high:.3f}", e.n]
            for name, e in agreement(store, draws=200).items()
        ],
        ("Drift", "question", "from", "answers", "mean"): [
            [row["field"], f"{datetime.fromtimestamp(row['start'], UTC):%d %b %H:%M} UTC", row["n"],
             f"{row['mean']:.2f}"]
            for row in drift(store)
        ],
        ("Flags", "rater", "rule", "what", "left out"): [
            [flag.rater, flag.rule, flag.detail, "yes" if flag.rule in left_out else ""]
            for flag in flags(store)
        ],
        ("To adjudicate: final and different", "unit", "question", "answers"): [
            [row["unit"], row["field"], " · ".join(map(str, row["values"]))]
            for row in disagreements(store)[:MOST]
        ],
        ("Cost of rooms", "partner", "calls", "tokens"): [
            [row["name"], row["calls"], row["tokens"]] for row in rooms.ledger.rows()
        ],
    }  # fmt: skip
    return {
        "tiles": [{"what": what, "value": value} for what, value in counts.items()],
        "tables": [{"title": t, "columns": names, "rows": rows} for (t, *names), rows in tables.items()],
    }  # fmt: skip


def _admin_routes(made: FastAPI, desk: Desk, token: str) -> None:
    def operator(request: Request) -> None:
        given = request.cookies.get("operator", "") or str(request.path_params.get("token", ""))
        if not token or not at_home(request) or not hmac.compare_digest(given.encode(), token.encode()):
            raise ForbiddenError("operator")

    @made.get("/admin/enter/{token}", dependencies=[Depends(operator)])
    def enter() -> Response:
        reply = HTMLResponse(desk.pages.render("enter.html", target="/admin"))
        reply.set_cookie("operator", token, path="/admin", httponly=True, samesite="strict")
        return reply

    @made.get("/admin", dependencies=[Depends(operator)])
    def admin() -> Response:
        return HTMLResponse(desk.pages.render("admin.html", "en", **overview(desk.store, desk.rooms)))
