#include "disklib/vm_folder/dictionary.h"

#include <gtest/gtest.h>

namespace disklib {
namespace {

using base::Code;

constexpr std::string_view kText =
    "#!/usr/bin/vmware\r\n"
    ".encoding = \"UTF-8\"\r\n"
    "\r\n"
    "scsi0:0.fileName=\"vm.vmdk\"\r\n"
    "  annotation = \"a |22quoted|22 line|0Aand a bar |7C, 100|% sure\"  # why\r\n"
    "memSize = 4096\r\n";

Dictionary Parsed(std::string_view text) {
  auto parsed = Dictionary::Parse(text);
  EXPECT_TRUE(parsed) << parsed.error().message();
  return parsed ? *std::move(parsed) : Dictionary();
}

TEST(Dictionary, ReadsValuesWithoutCaseQuotesAndEscapes) {
  const Dictionary dictionary = Parsed(kText);
  EXPECT_EQ(*dictionary.Find("SCSI0:0.filename"), "vm.vmdk");
  EXPECT_EQ(*dictionary.Find("annotation"), "a \"quoted\" line\nand a bar |, 100|% sure");
  EXPECT_EQ(*dictionary.Find("memsize"), "4096");
  EXPECT_EQ(dictionary.Find("memsiz"), nullptr);
  EXPECT_EQ(dictionary.Entries().size(), 4u);
}

TEST(Dictionary, ChangesOnlyTheLinesThatAreSet) {
  Dictionary dictionary = Parsed(kText);
  EXPECT_EQ(dictionary.Text(), kText);
  dictionary.Set("memsize", "4096");
  EXPECT_EQ(dictionary.Text(), kText) << "the same value leaves the line as it is";
  dictionary.Set("Scsi0:0.FileName", "vm-000001.vmdk");
  dictionary.Set("note", "a \"b\" | c\n");
  std::string expected(kText);
  const std::string_view old_line = "scsi0:0.fileName=\"vm.vmdk\"";
  expected.replace(expected.find(old_line), old_line.size(),
                   "scsi0:0.fileName = \"vm-000001.vmdk\"");
  expected += "note = \"a |22b|22 |7C c|0A\"\r\n";
  EXPECT_EQ(dictionary.Text(), expected);
  EXPECT_EQ(*Parsed(expected).Find("note"), "a \"b\" | c\n");
  EXPECT_TRUE(dictionary.Remove("ANNOTATION"));
  EXPECT_FALSE(dictionary.Remove("annotation"));
  EXPECT_EQ(*dictionary.Find("note"), "a \"b\" | c\n") << "what stood behind is still found";
  EXPECT_EQ(dictionary.Text().find("annotation"), std::string::npos);
}

TEST(Dictionary, AddsALineEndWhereTheLastLineHasNone) {
  Dictionary dictionary = Parsed("a = \"1\"");
  dictionary.Set("b", "2");
  EXPECT_EQ(dictionary.Text(), "a = \"1\"\nb = \"2\"\n");
  Dictionary empty = Parsed("");
  empty.Set("a", "");
  EXPECT_EQ(empty.Text(), "a = \"\"\n");
}

TEST(Dictionary, RefusesWhatCannotBeRead) {
  const auto code = [](std::string_view text) { return Dictionary::Parse(text).error().code(); };
  EXPECT_EQ(code("a = \"1\"\nno equals\n"), Code::kParseError);
  EXPECT_EQ(code("a = \"open\n"), Code::kParseError);
  EXPECT_EQ(code("a = \"1\" behind\n"), Code::kParseError);
  EXPECT_EQ(code("= \"1\"\n"), Code::kParseError);
  EXPECT_EQ(code(std::string_view("a = \"1\"\n\0", 9)), Code::kParseError);
  EXPECT_EQ(code("a = \"1\"\nA = \"2\"\n"), Code::kCorrupt);
  EXPECT_EQ(code(std::string(Dictionary::kBytesMax + 1, ' ')), Code::kTooLarge);
  EXPECT_EQ(code(std::string(Dictionary::kLinesMax + 1, '\n')), Code::kTooLarge);
  EXPECT_NE(Dictionary::Parse("a = 1\nbad\n").error().message().find("line 2"),
            std::string::npos);
}

}  // namespace
}  // namespace disklib
