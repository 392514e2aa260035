#include "tests/support/test_directory.h"

#include <algorithm>

namespace vmfs {
namespace {

base::Task<base::Status> RenameWithin(Directory& directory, Transaction& transaction,
                                      std::string_view from, std::string_view to,
                                      DirectoryTarget target) {
  CO_TRY(const PreparedInsert insert, co_await directory.PrepareInsert(to));
  CO_TRY(const PreparedRemove removal, co_await directory.PrepareRemove(from));
  directory.Apply(transaction, insert, target);
  directory.Apply(transaction, removal);
  co_return base::Ok();
}

}  // namespace

std::vector<std::vector<std::string>> CollidingNames(size_t bucket_count, uint32_t tried,
                                                     bool is_root) {
  std::vector<std::vector<std::string>> buckets(kHashBucketCount);
  for (uint32_t i = 0; i < tried; ++i) {
    std::string name = "n" + std::to_string(i);
    buckets[KeyOfName(name, is_root).bucket].push_back(std::move(name));
  }
  std::stable_sort(buckets.begin(), buckets.end(),
                   [](const auto& a, const auto& b) { return a.size() > b.size(); });
  buckets.resize(bucket_count);
  return buckets;
}

base::Status TestDirectory::Rename(const std::string& from, const std::string& to,
                                   DirectoryTarget target) {
  const auto status =
      base::RunSync(executor, RenameWithin(directory, transaction, from, to, target));
  modified_count = file.EndOperation();
  return status;
}

}  // namespace vmfs
