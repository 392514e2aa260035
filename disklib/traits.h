// The traits of a disk that its links keep in their databases: adapter, geometry, versions.
//
// A link of a snapshot has few keys of its own; each key counts from the nearest link below that
// has it (disklib/FORMAT.md, "Clone"). Place: under clone, linked clone, import and export. Thread
// rule: pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "disklib/chain.h"
#include "disklib/descriptor.h"

namespace disklib {

// Null if there is no such key. Keys have no case.
const std::string* FindTrait(const std::vector<KeyValue>& traits, std::string_view key);

// Sets a key, at its place if it is there.
void SetTrait(std::vector<KeyValue>& traits, const KeyValue& wanted);

// `ddb.adapterType` if it is a type one may write, else lsilogic. A view into `traits`.
std::string_view AdapterOf(const std::vector<KeyValue>& traits);

// Every `ddb.` key of the chain, each from the nearest link that has it. A geometry counts only
// whole, and of a link as large as the disk; `ddb.longContentID` only of the top link.
std::vector<KeyValue> TraitsOf(const Chain& chain);

}  // namespace disklib
