"""Every kind of job as a frozen class: subject, payload, whether it is done once, whose turn it is. Pure.

An order becomes a row by `job()`, and is read back from one by `of`; `about` gives the name of an order that somebody
else may have made, to find, hasten or cancel it. Nobody else knows how kinds, subjects and payloads are written.

The handler of an order that is a verb is its gerund (`Fetch`: `Fetching`), of one that is a noun its plural
(`Notice`: `Notices`). Two that ask the recorder alone, `Tick` and `End`, are methods of it. Fields that have their
default are not written, so an order may gain fields, with defaults; a kind or a field that is renamed needs a migration
of the rows that wait.
"""

from bot.orders.care import CheckEpisode as CheckEpisode
from bot.orders.care import Forget as Forget
from bot.orders.care import ForgetStems as ForgetStems
from bot.orders.care import Mend as Mend
from bot.orders.care import MendRoom as MendRoom
from bot.orders.events import Command as Command
from bot.orders.events import Confirm as Confirm
from bot.orders.events import HearAgain as HearAgain
from bot.orders.events import ImportKeys as ImportKeys
from bot.orders.events import Redaction as Redaction
from bot.orders.events import Unsend as Unsend
from bot.orders.every import KINDS as KINDS
from bot.orders.every import ORDERS as ORDERS
from bot.orders.every import announcements_of as announcements_of
from bot.orders.every import of_recording as of_recording
from bot.orders.files import ChooseCover as ChooseCover
from bot.orders.files import Cover as Cover
from bot.orders.files import HandBack as HandBack
from bot.orders.files import HandBackPart as HandBackPart
from bot.orders.files import KeepOriginal as KeepOriginal
from bot.orders.files import MakePortrait as MakePortrait
from bot.orders.order import Order as Order
from bot.orders.past import Backfill as Backfill
from bot.orders.past import BackfillMessages as BackfillMessages
from bot.orders.past import Gathered as Gathered
from bot.orders.past import MakeEpisode as MakeEpisode
from bot.orders.people import CloseRefused as CloseRefused
from bot.orders.people import Expire as Expire
from bot.orders.people import Forewarn as Forewarn
from bot.orders.people import ForgetMember as ForgetMember
from bot.orders.podcasts import CheckFeed as CheckFeed
from bot.orders.podcasts import NoteEnded as NoteEnded
from bot.orders.podcasts import PingHub as PingHub
from bot.orders.podcasts import RenewAddresses as RenewAddresses
from bot.orders.recordings import Encode as Encode
from bot.orders.recordings import End as End
from bot.orders.recordings import Fetch as Fetch
from bot.orders.recordings import Finish as Finish
from bot.orders.recordings import Reread as Reread
from bot.orders.recordings import Tick as Tick
from bot.orders.rooms import CatchUp as CatchUp
from bot.orders.rooms import Invite as Invite
from bot.orders.rooms import KeepWishes as KeepWishes
from bot.orders.rooms import Leave as Leave
from bot.orders.rooms import Pin as Pin
from bot.orders.rooms import Refresh as Refresh
from bot.orders.rooms import ShowRoom as ShowRoom
from bot.orders.rooms import Walk as Walk
from bot.orders.saying import ANSWERED_WITHIN as ANSWERED_WITHIN
from bot.orders.saying import Direct as Direct
from bot.orders.saying import Notice as Notice
from bot.orders.saying import React as React
from bot.orders.saying import command_answered_by as command_answered_by
from bot.orders.saying import is_panel as is_panel
from bot.orders.saying import is_welcome as is_welcome
from bot.orders.speaking import KeepCalls as KeepCalls
from bot.orders.speaking import KeepFloor as KeepFloor
from bot.orders.speaking import LookAtStudios as LookAtStudios
from bot.orders.speaking import MakeWalkie as MakeWalkie
from bot.orders.speaking import PutButtons as PutButtons
from bot.orders.speaking import TakeAway as TakeAway
from bot.orders.studios import SendBroadcast as SendBroadcast
