"""Playlists and manifests that look like sound: names of other files in the containers of audio."""

from collections.abc import Callable

from tests.audio.hostile.adts import adts
from tests.audio.hostile.kit import Kit
from tests.audio.hostile.mp3 import frame, id3
from tests.audio.hostile.mp4 import box
from tests.audio.hostile.riff import wav
from tests.audio.test_opus import HEAD, page


def playlists(kit: Kit) -> dict[str, bytes]:
    """Return texts that make a player open something else: by path, by address, by both."""
    path, url = str(kit.canary), kit.url
    texts = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile://{path}\n#EXTINF:5,\n{url}\n#EXT-X-ENDLIST\n",
        "hls_map": f'#EXTM3U\n#EXT-X-MAP:URI="file://{path}"\n#EXTINF:5,\nconcat:{path}|{url}\n#EXT-X-ENDLIST\n',
        "hls_key": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF:5,\n{path}\n#EXT-X-ENDLIST\n',
        "hls_master": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}\n#EXT-X-STREAM-INF:BANDWIDTH=2\n{path}\n",
        "ffconcat": f"ffconcat version 1.0\nfile {path}\nfile {url}\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" '
        f'bandwidth="1"><BaseURL>{path}</BaseURL></Representation><Representation id="2" bandwidth="2"><BaseURL>{url}'
        "</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "xml_entity": f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file://{path}">]><MPD>&x;</MPD>',
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio {kit.port} RTP/AVP 0\n",
        "pls": f"[playlist]\nFile1={path}\nFile2={url}\nNumberOfEntries=2\n",
        "asx": f'<asx version="3.0"><entry><ref href="{url}"/></entry><entry><ref href="file://{path}"/></entry></asx>',
        "rtsp_redirect": f"RTSPtext\r\nrtsp://127.0.0.1:{kit.port}/x\r\n",
        "vobsub": f"# VobSub index file, v7\nid: en, index: 0\n# {path}\ntimestamp: 00:00:00:000, filepos: 000000000\n",
        "cue": f'FILE "{path}" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
    }
    return {name: text.encode() for name, text in texts.items()}


CLOAKS: dict[str, Callable[[bytes], bytes]] = {
    "bare": lambda text: text,
    "ogg": lambda text: page([HEAD], 0, 0, flags=2) + page([b"OpusTags" + text], 1, 0) + page([text], 2, 960),
    "ogg_magic": lambda text: b"OggS" + text,
    "mp4": lambda text: box(b"ftyp", b"M4A \0\0\0\0") + box(b"moov", text) + box(b"mdat", text),
    "wav": lambda text: wav(8, 1, 8000, text),
    "caf": lambda text: b"caff\0\1\0\0" + text,
    "flac": lambda text: b"fLaC" + text,
    "matroska": lambda text: b"\x1aE\xdf\xa3" + text,
    "mp3": lambda text: id3(b"TIT2", text) + frame(text) + frame(text) + text,
    "adts": lambda text: adts(text) + adts(text),
}
