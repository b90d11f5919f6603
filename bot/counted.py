"""The counts of the program: what happened, how often, and how long it took. `docs/metrics.md` lists them.

Each is counted where it happens, and read by `bot.monitoring`.
"""

from storage.tally import Count, Durations

_LONG_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_SHORT_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)

SYNCS = Count(
    "aircheck_sync_requests_total",
    "Requests to `/sync`. `outcome`: `answered`, `failed` (no answer, or one that says nothing), `refused` (by the"
    " homeserver), `not_stored` (the batch comes again).",
    outcome=("answered", "failed", "refused", "not_stored"),
)
HOMESERVER = Count(
    "aircheck_homeserver_requests_total",
    "Requests to the homeserver, without downloads of media. `outcome`: `answered`, `failed`, `refused`.",
    outcome=("answered", "failed", "refused"),
)
DOWNLOADS = Count(
    "aircheck_downloads_total",
    "Downloads of media. `outcome`: `done`, `later` (tried again), `wrong` (bytes that are not those of the event),"
    " `refused`.",
    outcome=("done", "later", "wrong", "refused"),
)
DOWNLOADED = Count("aircheck_downloaded_bytes_total", "Bytes of media that were downloaded whole.")
DOWNLOAD_S = Durations("aircheck_download_seconds", "Length of downloads of media.", bounds=_LONG_S)
JOBS = Count(
    "aircheck_job_attempts_total",
    "Attempts at jobs. `outcome`: `done`, `later` (tried again), `given_up`.",
    "kind",
    outcome=("done", "later", "given_up"),
)
JOB_S = Durations("aircheck_job_attempt_seconds", "Length of attempts at jobs.", "kind", bounds=_LONG_S)
CHILDREN = Count(
    "aircheck_ffmpeg_runs_total",
    "Runs of ffmpeg. `work`: `decode`, `describe`, `picture`, `encode`, `copy`, `other`. `outcome`: `done`, `stopped`"
    " (no more was needed, or it took too long), `failed`.",
    work=("decode", "describe", "picture", "encode", "copy", "other"),
    outcome=("done", "stopped", "failed"),
)
CHILD_S = Durations("aircheck_ffmpeg_run_seconds", "Length of runs of ffmpeg.", "work", bounds=_LONG_S)
ENCODED = Count(
    "aircheck_encoded_audio_seconds_total",
    "Seconds of sound that were encoded, to MP3 or Opus: compare with `aircheck_ffmpeg_run_seconds_sum` of `encode`.",
)
REQUESTS = Count(
    "aircheck_http_requests_total",
    "Answers of the web server. `route`: `feed`, `page`, `audio`, `live`, `picture`, `data`, `static`, `health`,"
    " `studio` (all below `/studio/`), `other`. `status`: `2xx` to `5xx`.",
    route=("feed", "page", "audio", "live", "picture", "data", "static", "health", "studio", "other"),
    status=("2xx", "3xx", "4xx", "5xx"),
)
REQUEST_S = Durations(
    "aircheck_http_request_seconds",
    "Time until an answer was made; of large files and streams, until they were sent. Answers that were kept from"
    " before are not in it.",
    "route",
    bounds=_SHORT_S,
)
TURNED_AWAY = Count(
    "aircheck_http_turned_away_total",
    "Connections and requests that the web server refused or closed. `why`: `client` (too many of one address),"
    " `places` (all taken), `idle` (closed for a new one), `downloads` (too many).",
    why=("client", "places", "idle", "downloads"),
)
RENDERS = Count("aircheck_feed_renders_total", "Documents of feeds that were rendered.")

ALL: tuple[Count | Durations, ...] = (
    SYNCS,
    HOMESERVER,
    DOWNLOADS,
    DOWNLOADED,
    DOWNLOAD_S,
    JOBS,
    JOB_S,
    CHILDREN,
    CHILD_S,
    ENCODED,
    REQUESTS,
    REQUEST_S,
    TURNED_AWAY,
    RENDERS,
)
