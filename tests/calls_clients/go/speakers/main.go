// Participants of calls by MatrixRTC, of LiveKit's Go SDK: each publishes the Opus packets of a file, again and again,
// on a clock that does not slip. Orders come as lines of JSON, and each is answered by one (speakers.py).
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

const (
	packet      = 20 * time.Millisecond
	samples     = 960
	firstSample = 48000
)

type order struct {
	Order string `json:"order"`
	Name  string `json:"name"`
	URL   string `json:"url"`
	Token string `json:"token"`
	Sound string `json:"sound"` // of join: a file; a participant without one publishes nothing
	Key   string `json:"key"`   // of join and key: unpadded base64; without one the sound is not encrypted
	Index uint8  `json:"index"`
	Muted bool   `json:"muted"`
}

type speaker struct {
	room  *lksdk.Room
	sound *lksdk.LocalTrackPublication
	stop  chan struct{}
	ended sync.WaitGroup

	lock    sync.Mutex
	key     []byte // derived
	index   uint8
	began   time.Time
	packets int
	failure error
}

func main() {
	speakers := map[string]*speaker{}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var told order
		answer := map[string]any{}
		if err := json.Unmarshal(lines.Bytes(), &told); err != nil {
			answer["error"] = err.Error()
		} else if err := do(speakers, told, answer); err != nil {
			answer["error"] = err.Error()
		}
		answer["done"] = told.Order
		if err := answers.Encode(answer); err != nil {
			break
		}
	}
	for _, each := range speakers {
		each.leave()
	}
}

func do(speakers map[string]*speaker, told order, answer map[string]any) error {
	each := speakers[told.Name]
	if told.Order == "join" {
		joined, err := join(told)
		if err == nil {
			speakers[told.Name] = joined
		}
		return err
	}
	if each == nil {
		return fmt.Errorf("%s did not join", told.Name)
	}
	switch told.Order {
	case "key":
		return each.use(told.Key, told.Index, answer)
	case "mute":
		if each.sound == nil {
			return fmt.Errorf("%s has no microphone", told.Name)
		}
		each.sound.SetMuted(told.Muted)
	case "leave":
		delete(speakers, told.Name)
		each.leave()
		answer["began"] = float64(each.began.UnixMicro()) / 1e6
		answer["packets"] = each.packets
		return each.failure
	default:
		return fmt.Errorf("unknown order %s", told.Order)
	}
	return nil
}

func join(told order) (*speaker, error) {
	made := &speaker{stop: make(chan struct{})}
	if told.Key != "" {
		if err := made.use(told.Key, told.Index, map[string]any{}); err != nil {
			return nil, err
		}
	}
	room, err := lksdk.ConnectToRoomWithToken(told.URL, told.Token, lksdk.NewRoomCallback(), lksdk.WithAutoSubscribe(false))
	if err != nil {
		return nil, err
	}
	made.room = room
	if told.Sound == "" {
		return made, nil
	}
	if err := made.publish(told.Sound); err != nil {
		room.Disconnect()
		return nil, err
	}
	return made, nil
}

// use encrypts with this key from the next packet on, and tells which that is.
func (each *speaker) use(key string, index uint8, answer map[string]any) error {
	secret, err := base64.RawStdEncoding.DecodeString(key)
	if err != nil {
		return err
	}
	derived, err := lksdk.DeriveKeyFromBytes(secret)
	if err != nil {
		return err
	}
	each.lock.Lock()
	defer each.lock.Unlock()
	each.key, each.index = derived, index
	answer["packet"] = each.packets
	return nil
}

func (each *speaker) publish(path string) error {
	packets, err := opusPackets(path)
	if err != nil {
		return err
	}
	track, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2})
	if err != nil {
		return err
	}
	bound := make(chan struct{})
	track.OnBind(sync.OnceFunc(func() { close(bound) }))
	options := &lksdk.TrackPublicationOptions{Name: "microphone", Source: livekit.TrackSource_MICROPHONE, DisableDTX: true}
	if each.key != nil {
		options.Encryption = livekit.Encryption_GCM
	}
	each.sound, err = each.room.LocalParticipant.PublishTrack(track, options)
	if err != nil {
		return err
	}
	<-bound
	each.ended.Add(1)
	go each.speak(track, packets)
	return nil
}

func (each *speaker) speak(track *lksdk.LocalTrack, packets [][]byte) {
	defer each.ended.Done()
	each.began = time.Now()
	for {
		if err := each.write(track, packets[each.packets%len(packets)]); err != nil {
			each.failure = err
			return
		}
		select {
		case <-each.stop:
			return
		case <-time.After(time.Until(each.began.Add(time.Duration(each.packets) * packet))):
		}
	}
}

func (each *speaker) write(track *lksdk.LocalTrack, data []byte) error {
	each.lock.Lock()
	defer each.lock.Unlock()
	var err error
	if each.key != nil {
		if data, err = lksdk.EncryptGCMAudioSample(data, each.key, each.index); err != nil {
			return err
		}
	}
	at := uint32(firstSample + each.packets*samples)
	each.packets++
	return track.WriteSample(media.Sample{Data: data, Duration: packet, PacketTimestamp: at}, nil)
}

func (each *speaker) leave() {
	close(each.stop)
	each.ended.Wait()
	each.room.Disconnect()
}

// opusPackets reads packets of 20 ms, each after its length in two bytes.
func opusPackets(path string) ([][]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var packets [][]byte
	for len(data) > 2 {
		end := 2 + int(binary.BigEndian.Uint16(data))
		if end > len(data) {
			break
		}
		packets = append(packets, data[2:end])
		data = data[end:]
	}
	if len(packets) == 0 || len(data) != 0 {
		return nil, fmt.Errorf("%s holds no packets", path)
	}
	return packets, nil
}
