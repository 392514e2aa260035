// `Nexus`: what a target remembers about one initiator: its pending unit attentions.
//
// The field says I_T_L nexus (SAM-5 4.7): one initiator port, one target port, one logical unit.
// A loopback path is one nexus, an iSCSI session will be another. Thread rule: the executor of the
// target.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "vscsi/scsi/sense.h"

namespace scsi {

// Unit attentions in the order in which they arose, none twice (SAM-5 5.14). A new nexus starts
// with "power on", as SPC-4 asks of a unit that an initiator meets for the first time.
class Nexus {
 public:
  Nexus() { Raise(kPowerOnOccurred); }

  Nexus(const Nexus&) = delete;
  Nexus& operator=(const Nexus&) = delete;

  bool has_attention() const { return count_ > 0; }

  // Adds `attention` unless it is pending. When all places are taken the last one gives way: the
  // initiator learns from any of them that it must look again.
  void Raise(SenseCode attention) {
    for (size_t i = 0; i < count_; ++i) {
      if (pending_[i] == attention) return;
    }
    if (count_ == pending_.size()) --count_;
    pending_[count_++] = attention;
  }

  // Takes the oldest one off. Only with `has_attention()`.
  SenseCode Take() {
    const SenseCode first = pending_[0];
    for (size_t i = 1; i < count_; ++i) pending_[i - 1] = pending_[i];
    --count_;
    return first;
  }

 private:
  std::array<SenseCode, 8> pending_{};
  size_t count_ = 0;
};

}  // namespace scsi
