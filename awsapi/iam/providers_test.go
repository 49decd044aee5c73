package iamapi

import (
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

func testProviders(w *world) {
	t := w.t
	print1, print2 := strings.Repeat("0a", 20), strings.Repeat("F1", 20)
	made := call(t, w.CreateOpenIDConnectProvider, &sdk.CreateOpenIDConnectProviderInput{Url: aws.String("https://token.example.com/a/b"),
		ClientIDList: []string{"sts.amazonaws.com"}, ThumbprintList: []string{print1}, Tags: []types.Tag{tag("team", "a")}})
	arn := made.OpenIDConnectProviderArn
	equal(t, "the ARN", *arn, "arn:aws:iam::123456789012:oidc-provider/token.example.com/a/b")
	equal(t, "the new tags", tagged(made.Tags), "team=a")
	get := func() *sdk.GetOpenIDConnectProviderOutput {
		return call(t, w.GetOpenIDConnectProvider, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
	}
	got := get()
	equal(t, "the URL", *got.Url, "token.example.com/a/b")
	equal(t, "the clients", texts(got.ClientIDList), "sts.amazonaws.com")
	equal(t, "the thumbprints", texts(got.ThumbprintList), print1)
	equal(t, "the tags", tagged(got.Tags), "team=a")
	equal(t, "a date is given", got.CreateDate.IsZero(), false)

	fails[*types.EntityAlreadyExistsException](t, w.CreateOpenIDConnectProvider, &sdk.CreateOpenIDConnectProviderInput{Url: aws.String("https://token.example.com/a/b")},
		"Provider with url https://token.example.com/a/b already exists.")
	refused(t, w.CreateOpenIDConnectProvider, &sdk.CreateOpenIDConnectProviderInput{Url: aws.String("http://token.example.com")}, "ValidationError",
		"Invalid Open ID Connect Provider URL: it must begin with https:// and have neither query nor fragment")
	none := aws.String("arn:aws:iam::123456789012:oidc-provider/none")
	missing := "OpenIDConnect Provider not found for arn " + *none
	fails[*types.NoSuchEntityException](t, w.GetOpenIDConnectProvider, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: none}, missing)
	fails[*types.NoSuchEntityException](t, w.DeleteOpenIDConnectProvider, &sdk.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: none}, missing)
	fails[*types.NoSuchEntityException](t, w.TagOpenIDConnectProvider, &sdk.TagOpenIDConnectProviderInput{OpenIDConnectProviderArn: none, Tags: []types.Tag{tag("a", "")}}, missing)

	for range 2 { // once is enough
		call(t, w.AddClientIDToOpenIDConnectProvider, &sdk.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: aws.String("app")})
	}
	equal(t, "the clients after one more", texts(get().ClientIDList), "sts.amazonaws.com app")
	for range 2 { // absent is absent
		call(t, w.RemoveClientIDFromOpenIDConnectProvider, &sdk.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: aws.String("sts.amazonaws.com")})
	}
	equal(t, "the clients that are left", texts(get().ClientIDList), "app")
	call(t, w.UpdateOpenIDConnectProviderThumbprint, &sdk.UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: arn, ThumbprintList: []string{print2, print1}})
	equal(t, "the new thumbprints", strings.ToLower(texts(get().ThumbprintList)), strings.ToLower(print2+" "+print1))
	refused(t, w.UpdateOpenIDConnectProviderThumbprint, &sdk.UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: arn, ThumbprintList: slices.Repeat([]string{print1}, 6)},
		"ValidationError", "Thumbprint list must contain fewer than 6 entries.")

	call(t, w.TagOpenIDConnectProvider, &sdk.TagOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, Tags: []types.Tag{tag("env", "p"), tag("team", "b")}})
	call(t, w.UntagOpenIDConnectProvider, &sdk.UntagOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, TagKeys: []string{"env"}})
	equal(t, "the new tags", tagged(call(t, w.ListOpenIDConnectProviderTags, &sdk.ListOpenIDConnectProviderTagsInput{OpenIDConnectProviderArn: arn}).Tags), "team=b")

	call(t, w.CreateOpenIDConnectProvider, &sdk.CreateOpenIDConnectProviderInput{Url: aws.String("https://a.example.com")})
	list := call(t, w.ListOpenIDConnectProviders, &sdk.ListOpenIDConnectProvidersInput{}).OpenIDConnectProviderList
	equal(t, "the providers", joined(list, func(p types.OpenIDConnectProviderListEntry) string { return *p.Arn }), "arn:aws:iam::123456789012:oidc-provider/a.example.com "+*arn)
	other := w.as(rootOf(stranger))
	equal(t, "another account's providers", len(call(t, other.ListOpenIDConnectProviders, &sdk.ListOpenIDConnectProvidersInput{}).OpenIDConnectProviderList), 0)
	fails[*types.NoSuchEntityException](t, other.GetOpenIDConnectProvider, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn}, "OpenIDConnect Provider not found for arn "+*arn)

	call(t, w.DeleteOpenIDConnectProvider, &sdk.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
	fails[*types.NoSuchEntityException](t, w.GetOpenIDConnectProvider, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn}, "OpenIDConnect Provider not found for arn "+*arn)
}
