#include "disklib/volumes.h"

#include <optional>
#include <utility>

#include <fmt/format.h>

#include "disklib/names.h"

namespace disklib {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

const Volume* VolumesBackend::FindVolume(std::string_view name) {
  return volumes_ == nullptr ? nullptr : volumes_->Find(name);
}

std::string VolumesBackend::PlainPath(std::string_view path) {
  const std::optional<VolumePath> place = SplitVolumePath(path);
  const Volume* const volume = place ? FindVolume(place->volume) : nullptr;
  if (volume == nullptr) return std::string(path);
  if (volume->backend == &own_) return std::string(place->path);
  return JoinVolumePath({.volume = volume->uuid, .path = place->path});
}

OpenDisks* VolumesBackend::OpenDisksElsewhere(std::string_view path) {
  const std::string_view name = VolumeOf(path);
  const Volume* const volume = name.empty() ? nullptr : FindVolume(name);
  return volume == nullptr || volume->backend == &own_ ? nullptr : volume->open_disks;
}

std::string VolumesBackend::PathForOthers(std::string_view path) {
  const Volume* const own = volumes_ == nullptr ? nullptr : volumes_->FindOwn(own_);
  if (own == nullptr) return std::string(path);
  return JoinVolumePath({.volume = own->uuid, .path = path});
}

Result<VolumesBackend::Route> VolumesBackend::RouteTo(std::string_view path) {
  const std::optional<VolumePath> place = SplitVolumePath(path);
  if (!place) return Route{.backend = &own_, .path = path};
  const Volume* const volume = FindVolume(place->volume);
  if (volume != nullptr) return Route{.backend = volume->backend, .path = place->path};
  return Error(Code::kDeviceLost,
               fmt::format("{}: the datastore {} is not mounted here: mount it together with this "
                           "one",
                           path, place->volume));
}

Status VolumesBackend::CheckOwn(std::string_view path) {
  const std::string_view volume = VolumeOf(path);
  if (volume.empty()) return base::Ok();
  return Error(Code::kCrossDevice,
               fmt::format("{}: the disks of one datastore only read what is on another", path));
}

Task<Result<ObjectInfo>> VolumesBackend::Create(std::string_view path) {
  CO_TRY_STATUS(CheckOwn(path));
  Result<ObjectInfo> made = co_await own_.Create(path);
  co_return made;
}

Task<Result<std::unique_ptr<Object>>> VolumesBackend::Open(std::string_view path,
                                                           fss::OpenMode mode) {
  CO_TRY(const Route route, RouteTo(path));
  if (fss::Writes(mode)) CO_TRY_STATUS(CheckOwn(path));
  Result<std::unique_ptr<Object>> opened = co_await route.backend->Open(route.path, mode);
  if (!opened && route.backend != &own_) co_return opened.error().Within(path);
  co_return opened;
}

Task<Result<ObjectInfo>> VolumesBackend::GetInfo(std::string_view path) {
  CO_TRY(const Route route, RouteTo(path));
  Result<ObjectInfo> info = co_await route.backend->GetInfo(route.path);
  if (!info && route.backend != &own_) co_return info.error().Within(path);
  co_return info;
}

Task<Status> VolumesBackend::Resize(std::string_view path, uint64_t size_bytes) {
  CO_TRY_STATUS(CheckOwn(path));
  const Status resized = co_await own_.Resize(path, size_bytes);
  co_return resized;
}

Task<Result<ObjectInfo>> VolumesBackend::ReplaceContents(std::string_view path,
                                                         std::string_view contents) {
  CO_TRY_STATUS(CheckOwn(path));
  Result<ObjectInfo> replaced = co_await own_.ReplaceContents(path, contents);
  co_return replaced;
}

Task<Status> VolumesBackend::ReplaceTogether(std::span<const ObjectReplacement> replacements) {
  for (const ObjectReplacement& each : replacements) CO_TRY_STATUS(CheckOwn(each.path));
  const Status replaced = co_await own_.ReplaceTogether(replacements);
  co_return replaced;
}

Task<Status> VolumesBackend::Remove(std::string_view path) {
  CO_TRY_STATUS(CheckOwn(path));
  const Status removed = co_await own_.Remove(path);
  co_return removed;
}

Task<Status> VolumesBackend::Rename(std::string_view from, std::string_view to) {
  CO_TRY_STATUS(CheckOwn(from));
  CO_TRY_STATUS(CheckOwn(to));
  const Status renamed = co_await own_.Rename(from, to);
  co_return renamed;
}

Task<Status> VolumesBackend::Replace(std::string_view from, std::string_view to) {
  CO_TRY_STATUS(CheckOwn(from));
  CO_TRY_STATUS(CheckOwn(to));
  const Status replaced = co_await own_.Replace(from, to);
  co_return replaced;
}

Task<Result<ObjectInfo>> VolumesBackend::MakeDeviceMap(std::string_view path,
                                                       fss::RawDevice device) {
  CO_TRY_STATUS(CheckOwn(path));
  Result<ObjectInfo> made = co_await own_.MakeDeviceMap(path, device);
  co_return made;
}

Task<Result<std::string>> VolumesBackend::GetDeviceId(std::string_view path) {
  CO_TRY(const Route route, RouteTo(path));
  Result<std::string> id = co_await route.backend->GetDeviceId(route.path);
  co_return id;
}

Task<Status> VolumesBackend::List(std::string_view folder, ObjectSink& sink) {
  CO_TRY(const Route route, RouteTo(folder));
  const Status listed = co_await route.backend->List(route.path, sink);
  if (!listed && route.backend != &own_) co_return listed.error().Within(folder);
  co_return listed;
}

}  // namespace disklib
