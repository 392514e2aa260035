// `Heartbeat`: this host's lease on a volume, kept alive by rewriting one slot every 3 seconds.
//
// All locks a host holds name its slot and the generation it had: one heartbeat covers them all. A
// host that cannot pulse stops writing by itself before anybody may take over; a host that finds
// its slot changed by somebody else is fenced and never writes again. (The field says: lease slot.)
// Order of use: `Acquire`, then locks (`lock_manager.h`), then `TakeOverDead`, then work; at the
// end release the locks, then `Release`. Thread rule: the volume's executor.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fs/base/alarm.h"
#include "fs/base/block_device.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"
#include "fs/base/uuid.h"
#include "vmfs/lock/sector.h"
#include "vmfs/lock/slot_state.h"

namespace vmfs {

// The guard byte of slot n lies at this offset + n of the backing file.
inline constexpr uint64_t kGuardByteOffset = 0x800;

// Proof of life between processes of one machine: an exclusive lock of one byte of the backing file
// *on the open file description that carries the volume's I/O*, so that it is free only when the
// last write of a killed process has ended (vmfs/FORMAT.md, Heartbeats). The bytes lie in the
// unused first megabyte of the file and are never written.
class ProcessGuard {
 public:
  virtual ~ProcessGuard() = default;

  // Tries to lock the byte, without waiting. True: we hold it now. False: another process does.
  // Never asked for a byte that we hold. Errors: kIo, kUnsupported.
  virtual base::Result<bool> TryLock(uint64_t byte_offset) = 0;
  virtual void Unlock(uint64_t byte_offset) = 0;

  // True where every process that can write the volume takes part (an image on a local file
  // system): an unlocked byte then proves the slot's owner dead, whoever it is. False for block
  // nodes, which other machines may reach: there it proves it for owners with our UUID only.
  virtual bool covers_every_writer() const = 0;
};

// Times of the lease. Defaults are those of VMFS; the superblock carries lease and reclaim window.
struct LeaseTimes {
  uint64_t pulse_us = 3'000'000;
  uint64_t lease_us = 16'000'000;
  uint64_t margin_us = 4'000'000;   // writes stop this long before the lease ends
  uint64_t reclaim_us = 4'000'000;  // watched on top of the lease before a host counts as dead
};

struct HeartbeatOptions {
  HostIdentity identity;
  LeaseTimes times;
  ProcessGuard* guard = nullptr;   // null: the medium has none; slots in use are watched
  bool refuse_other_hosts = true;  // Acquire fails while another live host uses the volume
};

// A slot whose owner has been proven dead and which is marked as being replayed by us.
struct DeadSlot {
  uint32_t index;
  uint64_t address;     // of the slot; locks of the dead host name it ...
  uint64_t generation;  // ... together with this
  base::Uuid owner;
  uint32_t journal_block_address;   // JB address; 0: it had no journal
  uint64_t journal_volume_address;  // 0: it had no journal
};

// What a takeover does to the volume before the slot is given free.
class TakeoverHandler {
 public:
  virtual ~TakeoverHandler() = default;

  // Replays the dead host's journal, flushes, and only then frees its journal block. While it runs,
  // our LockManager may break locks of this dead slot. Idempotent: it runs again from the start
  // when a replayer died half-way. An error leaves the slot marked; the takeover can be tried
  // again.
  virtual base::Task<base::Status> Replay(const DeadSlot* dead) = 0;
};

class Heartbeat {
 public:
  // Borrows everything; does no I/O.
  Heartbeat(base::Executor& executor, base::BlockDevice& volume, HeartbeatOptions options);
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;
  // The pulse must have been stopped (`Release` or `Stop`).
  ~Heartbeat();

  // Reads all slots, in order. A slot that cannot be understood is reported in its place.
  // Errors: those of BlockDevice::Read.
  static base::Task<base::Result<std::vector<SlotState>>> ReadSlots(base::BlockDevice& volume);

  // Takes a free slot and starts to pulse. Slots of others are judged first: proven dead at once by
  // the guard, or by watching them for lease and reclaim window (20 s); dead ones are remembered
  // for TakeOverDead. Errors: kLockHeld naming the live holder, kCorrupt for a slot in a state we
  // do not know, kNoSpace when no slot is free, those of the device and the guard.
  base::Task<base::Status> Acquire();

  // Takes over every slot that Acquire found dead: marks all as being replayed by us, then calls
  // the handler for each and gives its slot free. A slot that another host takes over meanwhile is
  // left to it. Errors: the handler's, kFenced, those of the device.
  base::Task<base::Status> TakeOverDead(TakeoverHandler& handler);

  // Judges one slot, watching it if need be, and takes it over if its owner is dead. True if the
  // slot is not in use any more. Errors: as TakeOverDead.
  base::Task<base::Result<bool>> TakeOverIfDead(uint32_t slot_index, TakeoverHandler& handler);

  // Records where our journal is, for whoever has to replay it. Call when the journal block has
  // been initialised and flushed. Errors: kFenced, those of the device.
  base::Task<base::Status> SetJournal(uint32_t journal_block_address,
                                      uint64_t journal_volume_address);

  // Gives the slot back in the form ESXi leaves it and ends the pulse. All locks have been
  // released. Errors: kFenced, those of the device; the pulse has ended and the guard is open all
  // the same.
  base::Task<base::Status> Release();

  // Ends the pulse without touching the volume, as when the volume is lost. Idempotent.
  base::Task<void> Stop();

  // Whether a write may be issued now: held, not fenced, and the last successful pulse began less
  // than lease - margin (12 s) ago. Cheap; ask before every write.
  bool MayWrite() const {
    return held_ && !fenced_ && executor_.NowMicroseconds() < write_deadline_us_;
  }

  // Ok if MayWrite; else kFenced with the reason. A lapsed lease (as opposed to fenced()) may come
  // back when a pulse succeeds.
  base::Status CheckMayWrite() const;

  // Waits until MayWrite. Errors: kFenced when it never will be again.
  base::Task<base::Status> WaitUntilMayWrite();

  // Our slot was changed by another host, or we let go of it: nothing may ever be written again.
  bool fenced() const { return fenced_; }

  const std::string& fence_reason() const { return fence_reason_; }

  // Called once, when we are fenced.
  void SetFenceListener(std::function<void(const std::string& reason)> listener) {
    fence_listener_ = std::move(listener);
  }

  bool held() const { return held_; }

  uint32_t slot_index() const { return slot_index_; }

  uint64_t slot_address() const { return slot_address_; }  // what our locks name

  uint64_t generation() const { return generation_; }

  const HostIdentity& identity() const { return options_.identity; }

  base::BlockDevice& volume() { return volume_; }

  base::Executor& executor() { return executor_; }

 private:
  // A slot in use by somebody else, as it was first seen.
  struct Suspect {
    uint32_t index;
    SectorImage image;
    uint64_t seen_at_us;  // when that read had been answered
  };

  // An exchange on our slot that was not answered with success: it may still reach the volume.
  struct Unresolved {
    SectorImage image;
    uint64_t started_us;
  };

  // A change of our own slot.
  struct Change {
    enum class Kind : uint8_t { kPulse, kJournal, kFree } kind;
    uint32_t journal_block_address = 0;
    uint64_t journal_volume_address = 0;
  };

  // Acquire, in `heartbeat_acquire.cc`.
  base::Task<base::Status> TryAcquire(bool& contended);
  base::Task<base::Status> JudgeOthers(std::vector<SlotState>& slots, bool& contended);
  base::Status SortOthers(std::vector<SlotState>& slots, std::vector<Suspect>& suspects);
  base::Result<SlotVerdict> JudgeWithGuard(const SlotState& state);
  base::Task<base::Result<std::vector<SlotState>>> WatchUntilChange(std::vector<Suspect>& suspects);
  base::Task<base::Status> ClaimAnySlot(std::vector<SlotState>& slots);
  base::Task<base::Result<bool>> ClaimSlot(SlotState& state);
  base::Task<base::Result<bool>> OthersArrived();
  base::Task<base::Status> StepBack();

  // Takeover, in `heartbeat_takeover.cc`.
  base::Task<base::Result<bool>> IsDead(SlotState& state);
  base::Task<base::Result<bool>> MarkDead(Suspect& dead);
  base::Task<base::Status> TakeOverMarked(Suspect& dead, TakeoverHandler& handler);
  base::Task<base::Result<bool>> ExchangeDeadSlot(Suspect& dead, SectorImage& next);

  // The lease, in `heartbeat.cc`.
  base::Task<base::Status> UpdateOwnSlot(Change change);
  base::Task<base::Status> ResolveOwnSlot();
  SectorImage ChangedImage(const Change& change) const;
  void NoteOwnSlot(SectorImage image, uint64_t started_us);
  base::Task<void> PulseLoop();
  void Fence(std::string reason);
  base::Error FencedError() const;
  void LetGo();

  base::Result<bool> GuardSlot(uint32_t index);
  void UnguardSlot(uint32_t index);
  void UnguardAll();

  base::Executor& executor_;
  base::BlockDevice& volume_;
  const HeartbeatOptions options_;

  bool held_ = false;
  bool fenced_ = false;
  bool stopping_ = false;
  std::string fence_reason_;
  std::function<void(const std::string&)> fence_listener_;
  uint32_t slot_index_ = 0;
  uint64_t slot_address_ = 0;
  uint64_t generation_ = 0;
  uint64_t write_deadline_us_ = 0;

  base::AsyncLock slot_lock_;           // one exchange on our slot at a time
  SectorImage last_;                    // our slot as we know it to be on the volume
  std::vector<Unresolved> unresolved_;  // since then
  std::vector<Suspect> dead_;           // found by Acquire, not taken over yet
  std::set<uint32_t> guarded_;          // slots whose guard byte we hold
  base::AsyncCondition changed_;        // lease renewed, fenced or given up
  base::Alarm pulse_alarm_;
  base::TaskGroup pulse_;
};

}  // namespace vmfs
