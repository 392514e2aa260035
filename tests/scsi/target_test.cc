#include "vscsi/scsi/target.h"

#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "fs/base/sim_executor.h"
#include "tests/scsi/hex.h"
#include "tests/scsi/memory_device.h"
#include "vscsi/scsi/mode_data.h"

namespace scsi {
namespace {

using base::Code;
using base::IoVec;
using scsi_test::MemoryDevice;

constexpr uint64_t kBlocks = 2048;

class ScsiTarget : public testing::Test {
 protected:
  ScsiTarget() {
    auto owned = std::make_unique<MemoryDevice>(kBlocks * 512);
    memory_ = owned.get();
    target_ = std::make_unique<Target>(std::move(owned), TargetOptions{});
    target_->AddNexus(nexus_);
    nexus_.Take();
  }

  Response Run(const Cdb& cdb, Direction direction = Direction::kNone,
               std::span<std::byte> data = {}) {
    const IoVec piece{data.data(), data.size()};
    Command command;
    command.cdb = cdb;
    command.direction = direction;
    command.data = {&piece, 1};
    return base::RunSync(executor_, target_->Execute(nexus_, command));
  }

  Response In(const Cdb& cdb, std::span<std::byte> data) { return Run(cdb, Direction::kIn, data); }

  Response Out(const Cdb& cdb, std::span<std::byte> data) {
    return Run(cdb, Direction::kOut, data);
  }

  static SenseCode SenseIn(const Response& response) {
    EXPECT_EQ(response.status, StatusCode::kCheckCondition);
    const auto sense = DecodeSense(response.sense.view());
    return sense ? sense->code : SenseCode{};
  }

  static Cdb Range(Opcode opcode, uint64_t lba, uint32_t count, uint8_t flags = 0) {
    return EncodeBlockRange16(opcode, {lba, count, flags});
  }

  base::SimExecutor executor_{1};
  MemoryDevice* memory_ = nullptr;
  std::unique_ptr<Target> target_;
  Nexus nexus_;
};

TEST_F(ScsiTarget, ReadsBackWhatItWrote) {
  std::vector<std::byte> written(4096, std::byte{0x5A}), read(4096);
  const Response wrote = Out(Range(Opcode::kWrite16, 8, 8), written);
  EXPECT_EQ(wrote.status, StatusCode::kGood);
  EXPECT_EQ(wrote.transferred_bytes, 4096u);
  EXPECT_EQ(wrote.residual_bytes, 0);
  EXPECT_EQ(In(Range(Opcode::kRead16, 8, 8), read).status, StatusCode::kGood);
  EXPECT_EQ(read, written);
}

TEST_F(ScsiTarget, PassesForceUnitAccessOn) {
  std::vector<std::byte> data(512);
  Out(Range(Opcode::kWrite16, 0, 1, kFlagFua), data);
  EXPECT_TRUE(memory_->last_fua);
  Out(Range(Opcode::kWrite16, 0, 1), data);
  EXPECT_FALSE(memory_->last_fua);
}

TEST_F(ScsiTarget, ChecksTheRangeWithoutOverflow) {
  std::vector<std::byte> data(1024);
  const auto refused = [&](uint64_t lba, uint32_t count) {
    return SenseIn(In(Range(Opcode::kRead16, lba, count), data)) == kLbaOutOfRange;
  };
  EXPECT_TRUE(refused(kBlocks, 1));
  EXPECT_TRUE(refused(kBlocks - 1, 2));
  EXPECT_TRUE(refused(kBlocks + 1, 0));
  EXPECT_TRUE(refused(UINT64_MAX, 1));
  EXPECT_TRUE(refused(UINT64_MAX, 2));
  EXPECT_TRUE(refused(uint64_t{1} << 63, 1));
  EXPECT_EQ(In(Range(Opcode::kRead16, kBlocks, 0), data).status, StatusCode::kGood);
  EXPECT_EQ(memory_->outside_count, 0);
}

TEST_F(ScsiTarget, NamesTheBlockThatIsOutOfRange) {
  const Response response = Run(Range(Opcode::kRead16, kBlocks + 7, 1));
  EXPECT_EQ(DecodeSense(response.sense.view())->information, kBlocks + 7);
}

TEST_F(ScsiTarget, TransfersOnlyWhatTheBuffersHold) {
  std::vector<std::byte> stored(2048, std::byte{1});
  Out(Range(Opcode::kWrite16, 0, 4), stored);
  std::vector<std::byte> shorter(700), longer(4096, std::byte{9});
  const Response overflow = In(Range(Opcode::kRead16, 0, 2), shorter);
  EXPECT_EQ(overflow.transferred_bytes, 700u);
  EXPECT_EQ(overflow.residual_bytes, 700 - 1024);
  EXPECT_EQ(shorter.back(), std::byte{1});
  const Response underflow = In(Range(Opcode::kRead16, 0, 2), longer);
  EXPECT_EQ(underflow.transferred_bytes, 1024u);
  EXPECT_EQ(underflow.residual_bytes, 4096 - 1024);
  EXPECT_EQ(longer[1023], std::byte{1});
  EXPECT_EQ(longer[1024], std::byte{9});
}

TEST_F(ScsiTarget, WritesNoBlockBehindItsData) {
  std::vector<std::byte> data(700, std::byte{3});
  const Response response = Out(Range(Opcode::kWrite16, 0, 4), data);
  EXPECT_EQ(response.transferred_bytes, 512u);
  EXPECT_EQ(memory_->bytes()[511], std::byte{3});
  EXPECT_EQ(memory_->bytes()[512], std::byte{0});
}

TEST_F(ScsiTarget, RefusesTransfersAboveItsLimit) {
  EXPECT_EQ(SenseIn(Run(Range(Opcode::kRead16, 0, 2049))), kInvalidFieldInCdb);
  EXPECT_EQ(SenseIn(Run(Range(Opcode::kRead16, 0, 1, 0x20))), kInvalidFieldInCdb);
}

TEST_F(ScsiTarget, RefusesUnknownOpcodesCutCdbsAndNaca) {
  Cdb cdb = CdbOf(std::vector<uint8_t>{0xC1, 0, 0, 0, 0, 0});
  EXPECT_EQ(SenseIn(Run(cdb)), kInvalidOpcode);
  cdb = Range(Opcode::kRead16, 0, 1);
  cdb.size_bytes = 10;
  EXPECT_EQ(SenseIn(Run(cdb)), kInvalidFieldInCdb);
  cdb = EncodeTestUnitReady();
  cdb.bytes[5] = 0x04;
  EXPECT_EQ(SenseIn(Run(cdb)), kInvalidFieldInCdb);
}

TEST_F(ScsiTarget, ReportsUnitAttentionOnceAndNotOnInquiry) {
  nexus_.Raise(kCapacityChanged);
  std::vector<std::byte> data(96);
  EXPECT_EQ(In(EncodeInquiry({false, 0, 96}), data).status, StatusCode::kGood);
  EXPECT_EQ(SenseIn(Run(EncodeTestUnitReady())), kCapacityChanged);
  EXPECT_EQ(Run(EncodeTestUnitReady()).status, StatusCode::kGood);
}

TEST_F(ScsiTarget, RequestSenseTakesThePendingAttention) {
  nexus_.Raise(kPowerOnOccurred);
  std::vector<std::byte> data(18);
  EXPECT_EQ(In(EncodeRequestSense({false, 18}), data).status, StatusCode::kGood);
  EXPECT_EQ(scsi_test::Hex(data), "70 00 06 00 00 00 00 0a 00 00 00 00 29 00 00 00 00 00");
  EXPECT_EQ(Run(EncodeTestUnitReady()).status, StatusCode::kGood);
}

TEST_F(ScsiTarget, TellsEveryNexusThatItHasGrown) {
  Nexus other;
  target_->AddNexus(other);
  memory_->Grow(2 * kBlocks * 512);
  EXPECT_EQ(SenseIn(Run(EncodeTestUnitReady())), kCapacityChanged);
  EXPECT_EQ(other.Take(), kPowerOnOccurred);
  EXPECT_EQ(other.Take(), kCapacityChanged);
  target_->RemoveNexus(other);
  EXPECT_EQ(Run(Range(Opcode::kRead16, 2 * kBlocks, 0)).status, StatusCode::kGood);
}

TEST_F(ScsiTarget, InquiryListsEveryPageItHas) {
  std::vector<std::byte> data(252);
  ASSERT_EQ(In(EncodeInquiry({true, 0, 252}), data).status, StatusCode::kGood);
  EXPECT_EQ(scsi_test::Hex(std::span(data).first(10)), "00 00 00 06 00 80 83 b0 b1 b2");
  for (size_t i = 4; i < 10; ++i) {
    const auto page = static_cast<uint8_t>(data[i]);
    std::vector<std::byte> bytes(252);
    ASSERT_EQ(In(EncodeInquiry({true, page, 252}), bytes).status, StatusCode::kGood);
    EXPECT_EQ(bytes[1], data[i]);
  }
  EXPECT_EQ(SenseIn(In(EncodeInquiry({true, 0xC0, 252}), data)), kInvalidFieldInCdb);
  EXPECT_EQ(SenseIn(In(EncodeInquiry({false, 0x80, 252}), data)), kInvalidFieldInCdb);
}

TEST_F(ScsiTarget, CutsParameterDataToTheAllocationLength) {
  std::vector<std::byte> data(96, std::byte{0xEE});
  const Response response = In(EncodeInquiry({false, 0, 5}), data);
  EXPECT_EQ(response.transferred_bytes, 5u);
  EXPECT_EQ(response.residual_bytes, 91);
  EXPECT_EQ(data[5], std::byte{0xEE});
}

TEST_F(ScsiTarget, NameComesFromItsIdentityAlone) {
  std::array<uint8_t, 16> identity{};
  EXPECT_EQ(target_->naa_name(), NaaNameOf(IdentityFromName("memory")));
  for (size_t i = 0; i < 16; ++i) identity[i] = static_cast<uint8_t>(0xA0 + i);
  const NaaName name = NaaNameOf(identity);
  EXPECT_EQ(scsi_test::Hex(std::span(name).first(3)), "60 25 35");
  EXPECT_EQ(scsi_test::Hex(std::span(name).subspan(8)), "a8 a9 aa ab ac ad ae af");
  identity[0] ^= 1;
  EXPECT_NE(NaaNameOf(identity), name);
}

TEST_F(ScsiTarget, ReportsItsCapacity) {
  std::vector<std::byte> data(32);
  EXPECT_EQ(In(EncodeReadCapacity10({0, false}), data).transferred_bytes, 8u);
  EXPECT_EQ(scsi_test::Hex(std::span(data).first(8)), "00 00 07 ff 00 00 02 00");
  In(EncodeServiceActionIn({kServiceActionReadCapacity16, 0, 32, 0}), data);
  EXPECT_EQ(*DecodeCapacity16(data), (Capacity{kBlocks, 512, 3, true, true}));
  EXPECT_EQ(SenseIn(In(EncodeReadCapacity10({1, false}), data)), kInvalidFieldInCdb);
  EXPECT_EQ(SenseIn(In(EncodeServiceActionIn({0x1E, 0, 32, 0}), data)), kInvalidFieldInCdb);
}

TEST_F(ScsiTarget, ReportsOneLun) {
  std::vector<std::byte> data(16);
  EXPECT_EQ(In(EncodeReportLuns({0, 16}), data).status, StatusCode::kGood);
  EXPECT_EQ(scsi_test::Hex(data), "00 00 00 08 00 00 00 00 00 00 00 00 00 00 00 00");
  EXPECT_EQ(SenseIn(In(EncodeReportLuns({0, 15}), data)), kInvalidFieldInCdb);
  EXPECT_EQ(SenseIn(In(EncodeReportLuns({3, 16}), data)), kInvalidFieldInCdb);
}

TEST_F(ScsiTarget, SynchronizeCacheFlushes) {
  EXPECT_EQ(Run(Range(Opcode::kSynchronizeCache16, 0, 0)).status, StatusCode::kGood);
  EXPECT_EQ(Run(EncodeBlockRange10(Opcode::kSynchronizeCache10, {0, 0, 0})).status,
            StatusCode::kGood);
  EXPECT_EQ(memory_->flush_count, 2);
  EXPECT_EQ(SenseIn(Run(Range(Opcode::kSynchronizeCache16, kBlocks, 1))), kLbaOutOfRange);
}

TEST_F(ScsiTarget, WriteSameSpreadsABlock) {
  std::vector<std::byte> block(512, std::byte{0x77});
  EXPECT_EQ(Out(Range(Opcode::kWriteSame16, 1, 2000), block).status, StatusCode::kGood);
  EXPECT_EQ(memory_->bytes()[511], std::byte{0});
  EXPECT_EQ(memory_->bytes()[512], std::byte{0x77});
  EXPECT_EQ(memory_->bytes()[2001 * 512 - 1], std::byte{0x77});
  EXPECT_EQ(memory_->bytes()[2001 * 512], std::byte{0});
}

TEST_F(ScsiTarget, WriteSameOfZerosAsksTheDeviceForZeros) {
  std::vector<std::byte> block(512);
  memory_->bytes()[0] = std::byte{1};
  memory_->write_count = 0;
  EXPECT_EQ(Out(Range(Opcode::kWriteSame16, 0, 8, kFlagUnmap), block).status, StatusCode::kGood);
  EXPECT_EQ(memory_->bytes()[0], std::byte{0});
  EXPECT_EQ(memory_->write_count, 0);
  EXPECT_EQ(Run(Range(Opcode::kWriteSame16, 0, 0, kFlagNoDataOut)).status, StatusCode::kGood);
}

TEST_F(ScsiTarget, WriteSameWantsExactlyOneBlock) {
  std::vector<std::byte> half(256), two(1024);
  EXPECT_EQ(SenseIn(Out(Range(Opcode::kWriteSame16, 0, 1), half)).key, SenseKey::kIllegalRequest);
  EXPECT_EQ(SenseIn(Out(Range(Opcode::kWriteSame16, 0, 1), two)).key, SenseKey::kIllegalRequest);
  EXPECT_EQ(SenseIn(Run(Range(Opcode::kWriteSame16, 0, 1, kFlagAnchor))), kInvalidFieldInCdb);
}

TEST_F(ScsiTarget, UnmapFreesBlocks) {
  std::vector<std::byte> data(8192, std::byte{4});
  Out(Range(Opcode::kWrite16, 0, 16), data);
  UnmapListOfOne list = EncodeUnmapList({8, 8});
  EXPECT_EQ(Out(EncodeUnmap({false, 24}), list).status, StatusCode::kGood);
  EXPECT_EQ(memory_->bytes()[4095], std::byte{4});
  EXPECT_EQ(memory_->bytes()[4096], std::byte{0});
}

TEST_F(ScsiTarget, UnmapChecksItsWholeListFirst) {
  std::vector<std::byte> data(4096, std::byte{4});
  Out(Range(Opcode::kWrite16, 0, 8), data);
  Bytes list(8 + 32);
  list[1] = std::byte{38};
  list[3] = std::byte{32};
  const UnmapListOfOne good = EncodeUnmapList({0, 8}), bad = EncodeUnmapList({kBlocks, 1});
  std::copy(good.begin() + 8, good.end(), list.begin() + 8);
  std::copy(bad.begin() + 8, bad.end(), list.begin() + 24);
  EXPECT_EQ(SenseIn(Out(EncodeUnmap({false, 40}), list)), kLbaOutOfRange);
  EXPECT_EQ(memory_->bytes()[0], std::byte{4});
  EXPECT_EQ(SenseIn(Out(EncodeUnmap({false, 7}), list)), kListLengthError);
  EXPECT_EQ(SenseIn(Out(EncodeUnmap({true, 24}), list)), kInvalidFieldInCdb);
  EXPECT_EQ(Out(EncodeUnmap({false, 0}), {}).status, StatusCode::kGood);
}

TEST_F(ScsiTarget, CompareAndWriteReplacesOrNamesTheDifference) {
  std::vector<std::byte> data(1024);
  std::fill(data.begin() + 512, data.end(), std::byte{6});
  EXPECT_EQ(Out(Range(Opcode::kCompareAndWrite, 3, 1), data).status, StatusCode::kGood);
  EXPECT_EQ(memory_->bytes()[3 * 512], std::byte{6});
  std::copy_n(data.begin() + 512, 512, data.begin());
  data[100] = std::byte{0};
  const Response response = Out(Range(Opcode::kCompareAndWrite, 3, 1), data);
  EXPECT_EQ(SenseIn(response), kMiscompareDuringVerify);
  EXPECT_EQ(DecodeSense(response.sense.view())->information, 100u);
}

TEST_F(ScsiTarget, CompareAndWriteIsBoundByOnePhysicalBlock) {
  std::vector<std::byte> data(18 * 512);
  EXPECT_EQ(SenseIn(Out(Range(Opcode::kCompareAndWrite, 0, 9), data)), kInvalidFieldInCdb);
  EXPECT_EQ(Out(Range(Opcode::kCompareAndWrite, 0, 8), data).status, StatusCode::kGood);
  EXPECT_EQ(SenseIn(Out(Range(Opcode::kCompareAndWrite, 0, 8), std::span(data).first(4096))).key,
            SenseKey::kIllegalRequest);
}

TEST_F(ScsiTarget, LbaStatusTellsTheThreeStates) {
  std::vector<std::byte> data(4096, std::byte{1}), zero(512);
  Out(Range(Opcode::kWrite16, 8, 8), data);
  Out(Range(Opcode::kWriteSame16, 24, 8), zero);
  Bytes bytes(8 + 16 * 16);
  const Response response = In(EncodeServiceActionIn({kServiceActionGetLbaStatus, 4,
                                                      static_cast<uint32_t>(bytes.size()), 0}),
                               bytes);
  ASSERT_EQ(response.status, StatusCode::kGood);
  const auto runs = DecodeLbaStatus(std::span(bytes).first(response.transferred_bytes));
  const std::vector<LbaRun> expected = {{4, 4, LbaState::kDeallocated},
                                        {8, 8, LbaState::kMapped},
                                        {16, 8, LbaState::kDeallocated},
                                        {24, 8, LbaState::kAnchored},
                                        {32, kBlocks - 32, LbaState::kDeallocated}};
  EXPECT_EQ(*runs, expected);
  EXPECT_EQ(SenseIn(Run(EncodeServiceActionIn({kServiceActionGetLbaStatus, kBlocks, 24, 0}))),
            kLbaOutOfRange);
}

TEST_F(ScsiTarget, VerifyComparesByByteCheck) {
  std::vector<std::byte> data(1024, std::byte{8});
  Out(Range(Opcode::kWrite16, 0, 2), data);
  EXPECT_EQ(Run(Range(Opcode::kVerify16, 0, 2)).status, StatusCode::kGood);
  EXPECT_EQ(Out(Range(Opcode::kVerify16, 0, 2, 0x02), data).status, StatusCode::kGood);
  EXPECT_EQ(Out(Range(Opcode::kVerify16, 0, 2, 0x06), std::span(data).first(512)).status,
            StatusCode::kGood);
  data[600] = std::byte{0};
  const Response response = Out(Range(Opcode::kVerify16, 0, 2, 0x02), data);
  EXPECT_EQ(SenseIn(response), kMiscompareDuringVerify);
  EXPECT_EQ(DecodeSense(response.sense.view())->information, 600u);
  EXPECT_EQ(SenseIn(Run(Range(Opcode::kVerify16, 0, 1, 0x04))), kInvalidFieldInCdb);
}

TEST_F(ScsiTarget, WriteAndVerifyWritesThrough) {
  std::vector<std::byte> data(512, std::byte{2});
  EXPECT_EQ(Out(Range(Opcode::kWriteAndVerify16, 5, 1, 0x02), data).status, StatusCode::kGood);
  EXPECT_EQ(memory_->bytes()[5 * 512], std::byte{2});
  EXPECT_TRUE(memory_->last_fua);
}

TEST_F(ScsiTarget, ReadOnlyUnitsRefuseEveryWriterBeforeLookingAtItsData) {
  memory_->mutable_limits().can_write = false;
  for (const Opcode opcode : {Opcode::kWrite16, Opcode::kWriteSame16, Opcode::kCompareAndWrite,
                              Opcode::kWriteAndVerify16}) {
    EXPECT_EQ(SenseIn(Run(Range(opcode, 0, 1))), kWriteProtected);
  }
  EXPECT_EQ(SenseIn(Run(EncodeUnmap({false, 24}))), kWriteProtected);
  std::vector<std::byte> data(64);
  ModeSenseCdb mode;
  mode.page_code = 0x3F;
  mode.allocation_bytes = 64;
  In(EncodeModeSense6(mode), data);
  EXPECT_TRUE(DecodeModeHeader6(data)->write_protected);
}

TEST_F(ScsiTarget, ModeSenseKnowsItsPagesOnly) {
  std::vector<std::byte> data(255);
  ModeSenseCdb mode;
  mode.allocation_bytes = 255;
  mode.page_code = 0x1C;
  EXPECT_EQ(SenseIn(In(EncodeModeSense10(mode), data)), kInvalidFieldInCdb);
  mode.page_code = 0x08;
  EXPECT_EQ(In(EncodeModeSense10(mode), data).transferred_bytes, 36u);
  mode.page_control = 3;
  EXPECT_EQ(SenseIn(In(EncodeModeSense10(mode), data)), kSavingNotSupported);
}

TEST_F(ScsiTarget, StoppingMakesTheCacheDurable) {
  EXPECT_EQ(Run(EncodeStartStop({0, false, false, false})).status, StatusCode::kGood);
  EXPECT_EQ(memory_->flush_count, 1);
  EXPECT_EQ(Run(EncodeStartStop({0, false, false, true})).status, StatusCode::kGood);
  EXPECT_EQ(SenseIn(Run(EncodeStartStop({0, false, true, false}))), kInvalidFieldInCdb);
}

TEST_F(ScsiTarget, PreFetchChecksItsRange) {
  EXPECT_EQ(Run(Range(Opcode::kPreFetch16, 0, kBlocks)).status, StatusCode::kGood);
  EXPECT_EQ(SenseIn(Run(Range(Opcode::kPreFetch16, 1, kBlocks))), kLbaOutOfRange);
}

TEST_F(ScsiTarget, ErrorsOfTheDeviceBecomeSense) {
  std::vector<std::byte> data(512);
  memory_->failure = Code::kIo;
  EXPECT_EQ(SenseIn(In(Range(Opcode::kRead16, 0, 1), data)),
            (SenseCode{SenseKey::kHardwareError, 0x44, 0}));
  memory_->failure = Code::kMedium;
  EXPECT_EQ(SenseIn(In(Range(Opcode::kRead16, 0, 1), data)),
            (SenseCode{SenseKey::kMediumError, 0x11, 0}));
  memory_->failure = Code::kReservationConflict;
  EXPECT_EQ(In(Range(Opcode::kRead16, 0, 1), data).status, StatusCode::kReservationConflict);
}

}  // namespace
}  // namespace scsi
