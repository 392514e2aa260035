// `Heartbeat`: this host's lease on a volume, kept alive by rewriting one slot every 3 seconds.
//
// All locks a host holds name its slot and the generation it had: one heartbeat covers them all. A
// host that cannot pulse stops writing by itself before anybody may take over; a host that finds its
// slot changed by somebody else is fenced and never writes again. (The field says: lease slot.)
// Order of use: `Acquire`, then locks (`lock_manager.h`), then `TakeOverDead`, then work; at the
// end release the locks, then `Release`. Thread rule: the volume's executor.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"
#include "fs/base/uuid.h"
#include "vmfs/lock/sector.h"

namespace vmfs {

struct SlotState;  // one decoded slot, `slot_state.h`

// Who we are on the volume.
struct HostIdentity {
  base::Uuid owner;          // random, of this daemon instance; never zero
  std::string address_text;  // for people who look for the holder: "hostname pid 123"; cut at 45 B
  uint8_t fs_version_major = 24;
  uint8_t fs_version_minor = 82;
};

// Proof of life between processes of one machine: an exclusive lock of one byte of the backing file
// *on the open file description that carries the volume's I/O*, so that it is free only when the
// last write of a killed process has ended (vmfs/FORMAT.md, Heartbeats). The bytes lie in the unused
// first megabyte of the file and are never written.
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
  ProcessGuard* guard = nullptr;  // null: the medium has none; slots in use are watched
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
  // our LockManager may break locks of this dead slot. Idempotent: it runs again from the start when
  // a replayer died half-way. An error leaves the slot marked; the takeover can be tried again.
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
  // for TakeOverDead. Errors: kLockHeld naming the live holder, kCorrupt for a slot in a state we do
  // not know, kNoSpace when no slot is free, those of the device and the guard.
  base::Task<base::Status> Acquire();

  // Takes over every slot that Acquire found dead: marks it as being replayed by us, calls the
  // handler, gives the slot free. A slot that another host takes over meanwhile is left to it.
  // Errors: the handler's, kFenced, those of the device.
  base::Task<base::Status> TakeOverDead(TakeoverHandler& handler);

  // Judges one slot, watching it if need be, and takes it over if its owner is dead. True if the
  // slot is not in use any more. Errors: as TakeOverDead.
  base::Task<base::Result<bool>> TakeOverIfDead(uint32_t slot_index, TakeoverHandler& handler);

  // Records where our journal is, for whoever has to replay it. Call when the journal block has been
  // initialised and flushed. Errors: kFenced, those of the device.
  base::Task<base::Status> SetJournal(uint32_t journal_block_address,
                                      uint64_t journal_volume_address);

  // Gives the slot back in the form ESXi leaves it and ends the pulse. All locks have been released.
  // Errors: kFenced, those of the device; the pulse has ended and the guard is open all the same.
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
  struct Suspect {  // a slot in use by somebody else, as first seen
    uint32_t index;
    SectorImage image;
    uint64_t seen_at_us;
  };

  base::Task<base::Status> TryAcquireOnce(bool& contended);
  base::Task<base::Status> JudgeOthers(std::vector<SlotState>& slots);
  base::Task<base::Status> WatchSuspects(std::vector<Suspect>& suspects);
  base::Task<base::Status> ClaimFreeSlot(std::vector<SlotState>& slots);
  base::Task<base::Result<bool>> ClaimSlot(SlotState& slot);
  base::Task<base::Status> TakeOver(Suspect& dead, TakeoverHandler& handler);

  base::Task<base::Status> ReplaceOwnSlot(SectorImage& next);
  base::Task<base::Status> ResolveOwnSlot();
  base::Task<void> PulseLoop();
  base::Task<void> PulseOnce();
  void Fence(std::string reason);
  base::Result<bool> LockGuard(uint32_t slot_index);
  void UnlockGuard(uint32_t slot_index);

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

  base::AsyncLock slot_lock_;  // one exchange on our slot at a time
  SectorImage last_;           // our slot as we know it to be on the volume
  struct Unresolved {          // sent, not answered with success: may still reach the volume
    SectorImage image;
    uint64_t started_us;
  };
  std::vector<Unresolved> unresolved_;
  std::vector<Suspect> dead_;
  base::AsyncCondition changed_;  // lease renewed, fenced, stopping
  base::TaskGroup pulse_;
};

}  // namespace vmfs
