#include "hw_backend/libvirt/xml_tree.hpp"

#include <libxml/parser.h>
#include <libxml/tree.h>

#include <mutex>

#include "core/units/check.hpp"

namespace ferry {
namespace {

const xmlChar* as_xml(const char* text) { return reinterpret_cast<const xmlChar*>(text); }

std::string taken(xmlChar* text) {
  if (text == nullptr) return {};
  std::string result(reinterpret_cast<const char*>(text));
  xmlFree(text);
  return result;
}

/// libxml2 wants this once, before threads use it.
void prepare_library() {
  static std::once_flag once;
  std::call_once(once, xmlInitParser);
}

}  // namespace

std::string XmlElement::name() const {
  return node_ == nullptr ? std::string() : reinterpret_cast<const char*>(node_->name);
}

bool XmlElement::has_attribute(const char* name) const {
  return node_ != nullptr && xmlHasProp(node_, as_xml(name)) != nullptr;
}

std::string XmlElement::attribute(const char* name) const {
  return node_ == nullptr ? std::string() : taken(xmlGetProp(node_, as_xml(name)));
}

std::string XmlElement::content() const {
  return node_ == nullptr ? std::string() : taken(xmlNodeGetContent(node_));
}

XmlElement XmlElement::child(std::string_view name) const {
  for (const XmlElement& element : children()) {
    if (element.name() == name) return element;
  }
  return {};
}

std::vector<XmlElement> XmlElement::children() const {
  std::vector<XmlElement> found;
  if (node_ == nullptr) return found;
  for (xmlNode* node = node_->children; node != nullptr; node = node->next) {
    if (node->type == XML_ELEMENT_NODE) found.emplace_back(node);
  }
  return found;
}

std::vector<XmlElement> XmlElement::children(std::string_view name) const {
  std::vector<XmlElement> found;
  for (const XmlElement& element : children()) {
    if (element.name() == name) found.push_back(element);
  }
  return found;
}

std::string XmlElement::text() const {
  if (node_ == nullptr) return {};
  const std::unique_ptr<xmlBuffer, void (*)(xmlBuffer*)> buffer(xmlBufferCreate(), xmlBufferFree);
  xmlNodeDump(buffer.get(), node_->doc, node_, 0, 0);
  return reinterpret_cast<const char*>(xmlBufferContent(buffer.get()));
}

void XmlElement::set_attribute(const char* name, const std::string& value) const {
  check(node_ != nullptr, "an attribute is set on an element");
  xmlSetProp(node_, as_xml(name), as_xml(value.c_str()));
}

void XmlElement::remove_attribute(const char* name) const {
  check(node_ != nullptr, "an attribute is removed from an element");
  xmlUnsetProp(node_, as_xml(name));
}

void XmlElement::set_content(const std::string& content) const {
  check(node_ != nullptr, "content is given to an element");
  xmlNodeSetContent(node_, nullptr);
  xmlNodeAddContent(node_, as_xml(content.c_str()));  // escapes; xmlNodeSetContent would not
}

XmlElement XmlElement::add(const char* name) const {
  check(node_ != nullptr, "a child is added to an element");
  return XmlElement(xmlNewChild(node_, nullptr, as_xml(name), nullptr));
}

void XmlElement::add_copy(const XmlElement& element) const {
  check(node_ != nullptr && element.node_ != nullptr, "an element is copied into an element");
  xmlAddChild(node_, xmlDocCopyNode(element.node_, node_->doc, 1));
}

void XmlElement::remove() const {
  check(node_ != nullptr, "what is removed is an element");
  xmlUnlinkNode(node_);
  xmlFreeNode(node_);
}

void XmlElement::remove_children(std::string_view name) const {
  for (const XmlElement& element : children(name)) element.remove();
}

XmlDocument::XmlDocument(_xmlDoc* document) : document_(document, xmlFreeDoc) {}

std::optional<XmlDocument> XmlDocument::parse(std::string_view text) {
  prepare_library();
  xmlDoc* document = xmlReadMemory(text.data(), static_cast<int>(text.size()), nullptr, nullptr,
                                   XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
  if (document == nullptr) return std::nullopt;
  XmlDocument result(document);
  if (!result.root()) return std::nullopt;
  return result;
}

XmlDocument XmlDocument::with_root(const char* name) {
  prepare_library();
  XmlDocument result(xmlNewDoc(as_xml("1.0")));
  xmlDocSetRootElement(result.document_.get(),
                       xmlNewDocNode(result.document_.get(), nullptr, as_xml(name), nullptr));
  return result;
}

XmlElement XmlDocument::root() const { return XmlElement(xmlDocGetRootElement(document_.get())); }

}  // namespace ferry
