"""The reactions to error codes of push services.

FCM: firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode and "FCM error codes".
APNs: Apple, "Handling notification responses from APNs".
Web Push: RFC 8030 §5 and §7.3, RFC 8292 §4.2.
"""

from kordant_jobs.adapters.http_delivery import Act, ErrorTable

FCM = ErrorTable(
    service="fcm",
    codes={
        "UNREGISTERED": Act.GONE,
        "SENDER_ID_MISMATCH": Act.MISMATCH,  # the token is of another project than our key
        "INVALID_ARGUMENT": Act.OPERATOR,  # a bad token or a bad message: it does not say which, so no token is dropped
        "QUOTA_EXCEEDED": Act.RETRY,
        "UNAVAILABLE": Act.RETRY,
        "INTERNAL": Act.RETRY,
        "THIRD_PARTY_AUTH_ERROR": Act.OPERATOR,  # the key for Apple's or browsers' devices, kept at Firebase
        "UNAUTHENTICATED": Act.DOWN,
        "PERMISSION_DENIED": Act.DOWN,
    },
)

FCM_QUOTA_WAIT_S = 60.0
"""The shortest wait in seconds after QUOTA_EXCEEDED, even if the answer asks for less ("FCM error codes")."""

APNS = ErrorTable(
    service="apns",
    codes={
        "BadDeviceToken": Act.MISMATCH,  # also every token of the sandbox, sent to production, and the other way
        "DeviceTokenNotForTopic": Act.MISMATCH,
        "Unregistered": Act.GONE,
        "ExpiredToken": Act.GONE,
        "ExpiredProviderToken": Act.DOWN,  # once it is made again and still refused, our clock is wrong
        "InvalidProviderToken": Act.DOWN,
        "MissingProviderToken": Act.DOWN,
        "BadCertificate": Act.DOWN,
        "BadCertificateEnvironment": Act.DOWN,
        "Forbidden": Act.DOWN,
        "BadTopic": Act.DOWN,
        "BadEnvironmentKeyInToken": Act.DOWN,
        "MissingTopic": Act.DOWN,
        "TopicDisallowed": Act.DOWN,
        "TooManyProviderTokenUpdates": Act.RETRY,
        "TooManyRequests": Act.RETRY,
        "IdleTimeout": Act.RETRY,
        "InternalServerError": Act.RETRY,
        "ServiceUnavailable": Act.RETRY,
        "Shutdown": Act.RETRY,
        "PayloadTooLarge": Act.OPERATOR,
        "PayloadEmpty": Act.OPERATOR,
        "BadCollapseId": Act.OPERATOR,
        "BadExpirationDate": Act.OPERATOR,
        "BadMessageId": Act.OPERATOR,
        "BadPriority": Act.OPERATOR,
        "BadPath": Act.OPERATOR,
        "MethodNotAllowed": Act.OPERATOR,
        "MissingDeviceToken": Act.OPERATOR,
        "DuplicateHeaders": Act.OPERATOR,
    },
)

WEB_PUSH = ErrorTable(
    service="web push",
    codes={"404": Act.GONE, "410": Act.GONE},  # the subscription has expired or was ended (RFC 8030 §7.3)
    denied=Act.OPERATOR,  # each browser's maker has a server of its own: one that refuses our key stops no other
)
