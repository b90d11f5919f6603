"""How loud each moment of a broadcast becomes: a gain that is decided forwards, piece by piece. (prototype)"""

import json
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bot.audio.loudness import HOP, REFERENCE_DB, Energies, Meter, Slots, limited, lufs
from bot.audio.peaks import Pcm

Gains = NDArray[np.int16]
CEILING_DBTP = -2.0
MAX_DB, MIN_DB = 30.0, -20.0
ABS = -60.0
LOUD = -40.0
RELATIVE = 20.0
WINDOW = 20
UP, DOWN = 8.0, 30.0
ALIVE = 8.0
SINK = 0.5
MAKE_UP = 6.0

@dataclass(frozen=True, slots=True)
class LevelState:
    gain: int = 0
    settled: bool = False
    reference: int | None = None
    make_up: int = 0
    weight: float = 0.0
    recent: tuple[int, ...] = ()

def begin(start_db):
    return LevelState() if start_db is None else LevelState(gain=round(start_db*100), settled=True)

def momentary(e):
    p=np.concatenate([e[:1],e,e[-1:],e[-1:]]) if len(e) else e
    m=(p[:-3]+p[1:-2]+p[2:-1]+p[3:])/4
    return 10*np.log10(np.maximum(m,1e-12))-REFERENCE_DB

def active(db, ref):
    out=np.zeros(len(db),bool)
    n=len(db)
    # spread in windows of 4 s
    for i in range(0,n,10):
        seg=db[i:i+10]
        w=db[max(0,i-15):i+25]
        alive=np.percentile(w,90)-np.percentile(w,10)>=ALIVE
        top=np.percentile(w,90)
        if ref is None:
            if top>LOUD or (alive and top>ABS): ref=top
        else:
            if top>ref: ref=top
            elif alive and top>ABS: ref=max(top,ref-SINK)
        if ref is not None:
            out[i:i+10]=(seg>ref-RELATIVE)&(seg>ABS)
    return out,ref

Q=0.6
def levels(db,act,recent):
    """level wanted at each hop or nan"""
    x=np.where(act,db,np.nan)
    r=np.array(recent[-WINDOW:],float)/100
    pad=np.concatenate([np.full(WINDOW-len(r),np.nan),r,x,np.full(WINDOW,np.nan)])
    w=sliding_window_view(pad,2*WINDOW+1)
    out=np.full(len(x),np.nan)
    # local gate -10 below loud
    ok=act.nonzero()[0]
    if len(ok):
        ww=w[ok].copy()
        top=np.nanmax(ww,axis=1,keepdims=True)
        ww[ww<top-15]=np.nan
        out[ok]=np.nanquantile(ww,Q,axis=1)
    return out

def slew(want,g0,settled):
    """gains at borders 0..n ; want per hop in dB (nan hold)"""
    n=len(want)
    known=~np.isnan(want)
    if not known.any(): return np.full(n+1,g0),settled
    cap=np.full(n+1,np.inf)
    c=np.inf
    for i in range(n-1,-1,-1):
        c+=DOWN/10
        if known[i]: c=min(c,want[i])
        cap[i]=c
    cap[n]=cap[n-1]
    out=np.empty(n+1)
    g=g0
    out[0]=g
    for i in range(n):
        if known[i]:
            err=want[i]-g
            if not settled:
                g+=err
                if i==0: out[0]=g
                settled=True
            elif err>0:
                g+=min(err,UP/10*min(1,(err/6)**2))
            else:
                g+=max(err,-DOWN/10*min(1,(err/6)**2))
        if cap[i]<g-4: g=max(cap[i],g-DOWN/10)
        out[i+1]=g
    return out,settled

def curve(pcm,state,target,info=None):
    n=-(-len(pcm)//HOP)
    if target is None: return np.zeros(n+1,np.int16),state
    m=Meter();m.add(pcm)
    e,s=m.hops()
    db=momentary(e)
    ref=None if state.reference is None else state.reference/100
    if ref is None and state.settled: ref=target-state.gain/100
    act,ref=active(db,ref)
    L=levels(db,act,state.recent)
    mk=state.make_up/100
    seconds=act.sum()/10
    def run(mk):
        want=np.clip(target+mk-L,MIN_DB,MAX_DB)
        return slew(want,state.gain/100,state.settled)
    g,settled=run(mk)
    if seconds:
        own=mk
        for _ in range(4):
            mid=10**((g[:len(e)]+g[1:len(e)+1])/40)
            heard=limited(e[act],s[act],mid[act],CEILING_DBTP)
            err=target-lufs(float(np.mean(heard)))
            own=min(max(own+err,-MAKE_UP),MAKE_UP)
            a=seconds/(min(state.weight,60)+seconds)
            mk2=state.make_up/100+a*(own-state.make_up/100)
            g,settled=run(mk2)
            mk=mk2
    gains=np.round(np.concatenate([g,np.full(n-len(e),g[-1])])*100).astype(np.int16)
    recent=(*state.recent,*(np.round(db[act][-WINDOW:]*100).astype(int).tolist()))[-WINDOW:]
    st=LevelState(int(gains[-1]),settled,None if ref is None else round(ref*100),round(mk*100),min(60.0,state.weight+seconds),recent)
    if info is not None: info.append((L,act,g,ref,mk))
    return gains,st

def apply(pcm,gains,first=0):
    h=first//HOP
    n=-(-(first+len(pcm))//HOP)-h
    a=gains[h:h+n].astype(float);b=gains[h+1:h+n+1].astype(float)
    c=(a[:,None]+(b-a)[:,None]*(np.arange(HOP)/HOP)).ravel()
    return pcm*(10**(c/2000)).astype(np.float32)[first-h*HOP:][:len(pcm),None]
