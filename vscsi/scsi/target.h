// `scsi::Target`: the command emulation, one logical unit over any `base::BlockDevice`.
//
// Takes CDBs, checks them in the order that conformance tests expect (opcode, unit attention, CDB
// fields, LBA range, write protection, data length), does the work on the backing device and
// answers with status and sense. A table of opcodes drives it. Data passes through: READ and WRITE
// hand the caller's buffers to the backing device. Place in the stack: below `psa` (loopback paths)
// and below the guest-facing fronts of `vscsi`. Thread rule: the executor of the backing device;
// any number of commands in flight, without order among each other (SIMPLE task attribute).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fs/base/block_device.h"
#include "vscsi/scsi/command.h"
#include "vscsi/scsi/nexus.h"
#include "vscsi/scsi/parameter_data.h"

namespace scsi {

struct TargetOptions {
  // Sixteen stable bytes that make the unit's NAA name, such as a UUID. All zero: the name of the
  // backing device stands in, so that a file keeps its device name while it keeps its own.
  std::array<uint8_t, 16> identity{};
  std::string vendor = "STRATA";
  std::string product = "Virtual disk";
  std::string revision = "1.0";
};

// NAA type 6 (SPC-4 7.8.6.6.4): a company id from the locally administered half of the address
// space, then 100 bits drawn from `identity`. The same identity gives the same name for ever.
NaaName NaaNameOf(const std::array<uint8_t, 16>& identity);

// Sixteen bytes from a name: FNV-1a of 128 bits.
std::array<uint8_t, 16> IdentityFromName(std::string_view name);

class Target {
 public:
  // WRITE SAME of more than this is refused (05/24), so that no command runs without bound.
  static constexpr uint64_t kWriteSameBytesMax = uint64_t{1} << 30;
  static constexpr uint32_t kUnmapDescriptorsMax = 256;

  // Takes over `backing`, whose block size is a power of two.
  Target(std::unique_ptr<base::BlockDevice> backing, TargetOptions options);
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  // Initiators. A nexus is added before its first command and removed after its last one.
  void AddNexus(Nexus& nexus);
  void RemoveNexus(Nexus& nexus);

  // Executes one command. Always answers; errors of the backing device become sense data by the
  // one table of `base::InfoOf`. The buffers of `command` stay valid until then.
  base::Task<Response> Execute(Nexus& nexus, Command command);

  const base::BlockDevice& backing() const { return *backing_; }

  const NaaName& naa_name() const { return naa_name_; }

  // Closes the backing device. No command is in flight and none follows.
  base::Task<base::Status> Close() { return backing_->Close(); }

 private:
  using Handler = base::Task<Response> (Target::*)(Nexus& nexus, const Command& command);

  struct Entry {
    Opcode opcode;
    bool bypasses_attention;  // SAM-5 5.14: answered although a unit attention is pending
    Handler handler;
  };
  enum class Access : uint8_t { kRead, kWrite };

  static std::span<const Entry> Entries();
  static const Entry* FindEntry(uint8_t opcode);

  // Handlers check and decode; those that need the device return one of the coroutines below.
  base::Task<Response> TestUnitReady(Nexus& nexus, const Command& command);
  base::Task<Response> RequestSense(Nexus& nexus, const Command& command);
  base::Task<Response> Inquiry(Nexus& nexus, const Command& command);
  base::Task<Response> ModeSense(Nexus& nexus, const Command& command);
  base::Task<Response> StartStopUnit(Nexus& nexus, const Command& command);
  base::Task<Response> ReportLuns(Nexus& nexus, const Command& command);
  base::Task<Response> ReadCapacity10(Nexus& nexus, const Command& command);
  base::Task<Response> ServiceActionIn(Nexus& nexus, const Command& command);
  base::Task<Response> Read(Nexus& nexus, const Command& command);
  base::Task<Response> Write(Nexus& nexus, const Command& command);
  base::Task<Response> WriteAndVerify(Nexus& nexus, const Command& command);
  base::Task<Response> Verify(Nexus& nexus, const Command& command);
  base::Task<Response> PreFetch(Nexus& nexus, const Command& command);
  base::Task<Response> SynchronizeCache(Nexus& nexus, const Command& command);
  base::Task<Response> Unmap(Nexus& nexus, const Command& command);
  base::Task<Response> WriteSame(Nexus& nexus, const Command& command);
  base::Task<Response> CompareAndWrite(Nexus& nexus, const Command& command);

  // Work on the backing device; ranges have been checked.
  base::Task<Response> ReadWhole(base::IoRequest request);
  base::Task<Response> WriteWhole(base::IoRequest request);
  base::Task<Response> ReadPart(base::IoRequest request, uint64_t expected_bytes);
  base::Task<Response> WritePart(base::IoRequest request, uint64_t expected_bytes);
  base::Task<Response> Flush();
  base::Task<Response> UnmapList(Command command, uint16_t list_bytes);
  base::Task<Response> WriteZeroes(BlockRangeCdb range, bool may_unmap);
  base::Task<Response> WritePattern(BlockRangeCdb range, Command command);
  base::Task<Response> CompareAndWriteBlocks(BlockRangeCdb range, Command command);
  base::Task<Response> CompareRange(BlockRangeCdb range, Command command, bool write_first);
  base::Task<Response> LbaStatus(uint64_t lba, uint32_t allocation_bytes, Command command);
  base::Task<uint64_t> FirstDifference(uint64_t offset_bytes, std::span<const std::byte> expected);

  // Null if the command may go on.
  std::optional<Sense> RefuseRange(const BlockRangeCdb& range, Access access) const;
  std::optional<Sense> RefuseTransfer(const BlockRangeCdb& range, Access access) const;
  std::optional<Sense> RefuseWriteSame(const BlockRangeCdb& range) const;
  std::optional<Sense> RefuseUnmapList(std::span<const UnmapRange> ranges) const;

  base::Task<Response> Fail(const Sense& sense) const;
  Response ResponseFor(const base::Status& status, uint64_t transferred_bytes) const;
  // Sends parameter data, cut to the allocation length and to the buffers.
  base::Task<Response> SendData(const Command& command, std::span<const std::byte> data,
                                uint64_t allocation_bytes) const;
  std::optional<Bytes> EncodeVpdPage(uint8_t page_code) const;
  BlockLimits BlockLimitsNow() const;
  Capacity CapacityNow() const;
  void NoticeGrowth();

  uint64_t BytesOf(uint64_t block_count) const { return block_count << block_shift_; }

  uint64_t block_count() const { return backing_->size_bytes() >> block_shift_; }

  std::unique_ptr<base::BlockDevice> backing_;
  TargetOptions options_;
  NaaName naa_name_;
  uint32_t block_shift_;
  uint64_t known_size_bytes_;
  SenseFormat sense_format_ = SenseFormat::kFixed;
  std::vector<Nexus*> nexuses_;
};

}  // namespace scsi
